// SPDX-License-Identifier: Apache-2.0
#include <ringleader/core/status.h>

namespace ringleader {

const char* name_of(Code code) {
  switch (code) {
    case Code::ok:
      return "ok";
    case Code::invalid_argument:
      return "invalid_argument";
    case Code::not_initialized:
      return "not_initialized";
    case Code::duplicate_name:
      return "duplicate_name";
    case Code::mismatch:
      return "mismatch";
    case Code::joined:
      return "joined";
    case Code::shutdown:
      return "shutdown";
    case Code::rank_lost:
      return "rank_lost";
    case Code::stalled:
      return "stalled";
    case Code::transport:
      return "transport";
    case Code::bad_message:
      return "bad_message";
    case Code::unsupported:
      return "unsupported";
    case Code::no_memory:
      return "no_memory";
  }
  return "unknown";
}

}  // namespace ringleader

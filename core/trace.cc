// SPDX-License-Identifier: Apache-2.0
#include <ringleader/core/trace.h>

#include <atomic>
#include <string>

namespace ringleader {
namespace {

std::atomic<const Tracer*> installed{nullptr};

}  // namespace

void install_tracer(const Tracer* tracer) { installed.store(tracer, std::memory_order_release); }

TraceRange::TraceRange(const char* what, std::string_view object) {
  const Tracer* const tracer = installed.load(std::memory_order_acquire);
  if (tracer == nullptr) return;
  if (object.empty()) {
    range_ = tracer->begin(what);
  } else {
    range_ = tracer->begin((std::string(what) + " " + std::string(object)).c_str());
  }
}

void TraceRange::end() {
  if (range_ == 0) return;
  const Tracer* const tracer = installed.load(std::memory_order_acquire);
  if (tracer != nullptr) tracer->end(range_);
  range_ = 0;
}

}  // namespace ringleader

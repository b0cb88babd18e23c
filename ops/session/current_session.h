// SPDX-License-Identifier: Apache-2.0
//
// What the public functions share: the running session, and how to submit to it.
#pragma once

#include <ringleader/core/protocol/request.h>
#include <ringleader/core/runtime/runtime.h>
#include <ringleader/core/topology.h>

#include <memory>
#include <string>
#include <string_view>

namespace ringleader {

/// The runtime between init() and shutdown(). Throws Error(not_initialized) naming `what`.
std::shared_ptr<runtime::Runtime> current_runtime(std::string_view what);
std::shared_ptr<runtime::Runtime> current_runtime(const Operation& operation);
Topology current_topology(std::string_view what);

/// Whether a sum over the ranks is that of the binary tree of kernels/reduce.h, on any backend that
/// may be chosen.
bool sums_by_one_tree();

/// The accelerator that all ranks have; null if some has none.
std::shared_ptr<DevicePort> current_device();

/// Names that begin so are the library's own.
constexpr const char* kReservedPrefix = "ringleader/";

/// Of an operation of which there is one at a time.
inline std::string own_name(const protocol::Request& request) {
  return std::string(kReservedPrefix) + kind_of(request);
}

/// An operation on nothing but the request itself.
std::shared_ptr<Operation> make_operation(protocol::Request request);

/// Runs it and returns its value; throws Error if it failed.
std::int64_t run_operation(const char* what, protocol::Request request, SourceLocation where = {});

}  // namespace ringleader

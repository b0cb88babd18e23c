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

/// Whether sums over the ranks are those of the binary tree in kernels/reduce.h, on every backend
/// that may be chosen.
bool sums_by_one_tree();

/// The accelerator that all ranks have; null if some rank has none.
std::shared_ptr<DevicePort> current_device();

using protocol::kReservedPrefix;

/// The name of an operation of which there is only one at a time.
inline std::string own_name(const protocol::Request& request) {
  return std::string(kReservedPrefix) + kind_of(request);
}

/// An operation that holds the request and nothing else.
std::shared_ptr<Operation> make_operation(protocol::Request request);

/// Runs an operation with this request and returns its value. Throws Error if it failed.
std::int64_t run_operation(const char* what, protocol::Request request, SourceLocation where = {});

}  // namespace ringleader

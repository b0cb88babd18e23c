// SPDX-License-Identifier: Apache-2.0
//
// inproc: ranks are threads of one process. It serves tests and single-rank programs.
//
//   auto hub = std::make_shared<inproc::Hub>(4);
//   Runtime runtime(options, hub->control_plane(rank), {hub->backend(rank)});
//
// Data moves by the direct reduction: rank r owns share r of the batch, reads it from all ranks'
// inputs and writes it to all ranks' outputs. Every input is read once and every output written
// once; the outputs beyond the first are copies of it. This also works in place, because only an
// element's owner touches it.
#pragma once

#include <ringleader/core/runtime/backend.h>
#include <ringleader/core/runtime/control_plane.h>

#include <memory>

namespace ringleader::inproc {

/// What the ranks share.
/// Threading: different threads may use the adapters that it makes.
class Hub : public std::enable_shared_from_this<Hub> {
 public:
  explicit Hub(int size);
  ~Hub();

  /// The adapters of one rank; they keep the hub alive.
  std::unique_ptr<ControlPlane> control_plane(int rank);
  std::unique_ptr<Backend> backend(int rank);

  struct Shared;

 private:
  std::shared_ptr<Shared> shared_;
};

}  // namespace ringleader::inproc

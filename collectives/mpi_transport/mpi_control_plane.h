// SPDX-License-Identifier: Apache-2.0
//
// MpiControlPlane: control messages as MPI point-to-point messages on a communicator of their own.
#pragma once

#include <ringleader/collectives/mpi_transport/communicator.h>
#include <ringleader/core/runtime/control_plane.h>

#include <functional>
#include <list>
#include <utility>
#include <vector>

namespace ringleader::mpi_transport {

class MpiControlPlane : public ControlPlane {
 public:
  explicit MpiControlPlane(Communicator comm) : comm_(std::move(comm)) {}

  Status send(int to, MessageBytes bytes) override;
  Status poll(std::vector<ReceivedMessage>& received) override;
  bool sent_all() override { return sending_.empty(); }
  bool set_waker(std::function<void()>) override { return false; }  // MPI has no such call

 private:
  struct Sending {
    MessageBytes bytes;
    MPI_Request request = MPI_REQUEST_NULL;
  };

  Status test_sends();

  Communicator comm_;
  std::list<Sending> sending_;  ///< a list: MPI holds on to the requests
};

}  // namespace ringleader::mpi_transport

// SPDX-License-Identifier: Apache-2.0
//
// MpiControlPlane: control messages as MPI point-to-point messages on a communicator of their own.
//
// Nearly all messages are small. A receive for a small message is always posted, which costs less
// than probing for messages and receiving what was found. A small message announces each large one
// and holds its size. The large message is received next from that rank, so messages stay in order.
#pragma once

#include <ringleader/collectives/mpi_transport/communicator.h>
#include <ringleader/core/runtime/control_plane.h>

#include <array>
#include <cstddef>
#include <functional>
#include <list>
#include <memory>
#include <vector>

namespace ringleader::mpi_transport {

class MpiControlPlane : public ControlPlane {
 public:
  explicit MpiControlPlane(Communicator comm);
  ~MpiControlPlane() override;
  MpiControlPlane(const MpiControlPlane&) = delete;
  MpiControlPlane& operator=(const MpiControlPlane&) = delete;

  Status send(int to, MessageBytes bytes) override;
  Status poll(std::vector<ReceivedMessage>& received) override;
  bool sent_all() override;
  bool set_waker(std::function<void()>) override { return false; }  // MPI has no such call

 private:
  static constexpr std::size_t kSmallBytesMax = 4096;

  struct Sending {
    MessageBytes bytes;
    std::size_t large_size = 0;  ///< the announcement of a large message
    MPI_Request request = MPI_REQUEST_NULL;
    MPI_Request large_request = MPI_REQUEST_NULL;
  };

  Status post_receive();
  Status test_receive(bool& arrived, std::vector<ReceivedMessage>& received);
  Status test_sends();

  Communicator comm_;
  std::list<Sending> sending_;  ///< a list, because MPI keeps pointers to its elements
  std::array<std::byte, kSmallBytesMax> small_;
  std::shared_ptr<std::vector<std::byte>> large_;  ///< set while a large message is being received
  MPI_Request receiving_ = MPI_REQUEST_NULL;
};

}  // namespace ringleader::mpi_transport

// SPDX-License-Identifier: Apache-2.0
//
// MpiControlPlane: control messages as MPI point-to-point messages on a communicator of their own.
//
// Nearly all are small. A receive for a small message is always posted, which costs less than to
// look for messages and to receive what was found. A large one is announced by a small one that
// holds its size, and received next from that rank, so the order of messages is kept.
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
    std::size_t large_size = 0;  ///< what announces a large message
    MPI_Request request = MPI_REQUEST_NULL;
    MPI_Request large_request = MPI_REQUEST_NULL;
  };

  Status post_receive();
  Status test_receive(bool& arrived, std::vector<ReceivedMessage>& received);
  Status test_sends();

  Communicator comm_;
  std::list<Sending> sending_;  ///< a list: MPI holds on to what is in it
  std::array<std::byte, kSmallBytesMax> small_;
  std::shared_ptr<std::vector<std::byte>> large_;  ///< set while a large message is received
  MPI_Request receiving_ = MPI_REQUEST_NULL;
};

}  // namespace ringleader::mpi_transport

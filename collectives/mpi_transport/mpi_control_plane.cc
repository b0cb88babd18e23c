// SPDX-License-Identifier: Apache-2.0
#include <ringleader/collectives/mpi_transport/mpi_control_plane.h>

#include <fmt/core.h>

namespace ringleader::mpi_transport {
namespace {

constexpr int kTag = 0;

/// Messages taken in one poll, so that one poll is bounded.
constexpr int kMessagesPerPoll = 64;

}  // namespace

Status MpiControlPlane::send(int to, MessageBytes bytes) {
  if (bytes->size() > kControlMessageBytesMax) {
    return Status(Code::transport, fmt::format("a control message of {} bytes is too large; "
                                               "register fewer or shorter names at a time",
                                               bytes->size()));
  }
  Sending& sending = sending_.emplace_back();
  sending.bytes = std::move(bytes);
  RL_MPI_RETURN_IF_ERROR(MPI_Isend(sending.bytes->data(), static_cast<int>(sending.bytes->size()),
                                   MPI_BYTE, to, kTag, comm_.get(), &sending.request));
  return Status();
}

Status MpiControlPlane::poll(std::vector<ReceivedMessage>& received) {
  if (const Status status = test_sends(); !status.ok()) return status;
  for (int i = 0; i < kMessagesPerPoll; ++i) {
    int arrived = 0;
    MPI_Message message = MPI_MESSAGE_NULL;
    MPI_Status status;
    RL_MPI_RETURN_IF_ERROR(
        MPI_Improbe(MPI_ANY_SOURCE, kTag, comm_.get(), &arrived, &message, &status));
    if (arrived == 0) return Status();
    int size = 0;
    RL_MPI_RETURN_IF_ERROR(MPI_Get_count(&status, MPI_BYTE, &size));
    if (size < 0 || static_cast<std::size_t>(size) > kControlMessageBytesMax) {
      return Status(Code::bad_message, fmt::format("rank {} sent a control message of {} bytes",
                                                   status.MPI_SOURCE, size));
    }
    auto bytes = std::make_shared<std::vector<std::byte>>(static_cast<std::size_t>(size));
    RL_MPI_RETURN_IF_ERROR(MPI_Mrecv(bytes->data(), size, MPI_BYTE, &message, MPI_STATUS_IGNORE));
    received.push_back({status.MPI_SOURCE, std::move(bytes)});
  }
  return Status();
}

Status MpiControlPlane::test_sends() {
  for (auto it = sending_.begin(); it != sending_.end();) {
    int done = 0;
    RL_MPI_RETURN_IF_ERROR(MPI_Test(&it->request, &done, MPI_STATUS_IGNORE));
    it = done != 0 ? sending_.erase(it) : std::next(it);
  }
  return Status();
}

}  // namespace ringleader::mpi_transport

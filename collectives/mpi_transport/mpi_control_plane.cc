// SPDX-License-Identifier: Apache-2.0
#include <ringleader/collectives/mpi_transport/mpi_control_plane.h>

#include <fmt/core.h>

#include <cstring>
#include <utility>

namespace ringleader::mpi_transport {
namespace {

constexpr int kSmall = 0;      // tags
constexpr int kLargeSize = 1;  // of the size of a large message, 8 bytes
constexpr int kLarge = 2;

/// Messages taken in one poll. This bounds the work of a poll.
constexpr int kMessagesPerPoll = 64;

}  // namespace

MpiControlPlane::MpiControlPlane(Communicator comm) : comm_(std::move(comm)) {}

MpiControlPlane::~MpiControlPlane() {
  int finalized = 0;
  MPI_Finalized(&finalized);
  if (receiving_ == MPI_REQUEST_NULL || finalized != 0) return;
  // Nobody sends any more, except for ranks that have failed; then MPI_Abort ends the job. Wait for
  // the cancellation, because MPI may write to the buffer until then.
  MPI_Cancel(&receiving_);
  MPI_Wait(&receiving_, MPI_STATUS_IGNORE);
}

Status MpiControlPlane::send(int to, MessageBytes bytes) {
  if (bytes->size() > kControlMessageBytesMax) {
    return Status(Code::transport, fmt::format("a control message of {} bytes is too large; "
                                               "register fewer or shorter names at a time",
                                               bytes->size()));
  }
  Sending& sending = sending_.emplace_back();
  sending.bytes = std::move(bytes);
  const void* data = sending.bytes->data();
  const int size = static_cast<int>(sending.bytes->size());
  if (sending.bytes->size() <= kSmallBytesMax) {
    RL_MPI_RETURN_IF_ERROR(
        MPI_Isend(data, size, MPI_BYTE, to, kSmall, comm_.get(), &sending.request));
    return test_sends();  // most complete at once
  }
  sending.large_size = sending.bytes->size();
  RL_MPI_RETURN_IF_ERROR(MPI_Isend(&sending.large_size, sizeof sending.large_size, MPI_BYTE, to,
                                   kLargeSize, comm_.get(), &sending.request));
  RL_MPI_RETURN_IF_ERROR(
      MPI_Isend(data, size, MPI_BYTE, to, kLarge, comm_.get(), &sending.large_request));
  return Status();
}

Status MpiControlPlane::poll(std::vector<ReceivedMessage>& received) {
  if (const Status status = test_sends(); !status.ok()) return status;
  for (int i = 0; i < kMessagesPerPoll; ++i) {
    bool arrived = false;
    if (const Status status = test_receive(arrived, received); !status.ok()) return status;
    if (!arrived) return Status();
  }
  return Status();
}

Status MpiControlPlane::post_receive() {
  RL_MPI_RETURN_IF_ERROR(MPI_Irecv(small_.data(), static_cast<int>(small_.size()), MPI_BYTE,
                                   MPI_ANY_SOURCE, MPI_ANY_TAG, comm_.get(), &receiving_));
  return Status();
}

Status MpiControlPlane::test_receive(bool& arrived, std::vector<ReceivedMessage>& received) {
  if (receiving_ == MPI_REQUEST_NULL) {
    if (const Status status = post_receive(); !status.ok()) return status;
  }
  int done = 0;
  MPI_Status what;
  RL_MPI_RETURN_IF_ERROR(MPI_Test(&receiving_, &done, &what));
  if (done == 0) return Status();
  arrived = true;
  int size = 0;
  RL_MPI_RETURN_IF_ERROR(MPI_Get_count(&what, MPI_BYTE, &size));
  if (large_ != nullptr) {
    received.push_back({what.MPI_SOURCE, std::exchange(large_, nullptr)});
    return post_receive();
  }
  if (what.MPI_TAG == kSmall) {
    received.push_back({what.MPI_SOURCE, std::make_shared<const std::vector<std::byte>>(
                                             small_.begin(), small_.begin() + size)});
    return post_receive();
  }
  std::size_t large_size = 0;
  if (what.MPI_TAG == kLargeSize && size == static_cast<int>(sizeof large_size)) {
    std::memcpy(&large_size, small_.data(), sizeof large_size);
  }
  if (large_size <= kSmallBytesMax || large_size > kControlMessageBytesMax) {
    return Status(Code::bad_message, fmt::format("rank {} sent a control message of {} bytes",
                                                 what.MPI_SOURCE, large_size));
  }
  // Take nothing else until it has arrived: what the same rank sent next must not overtake it.
  large_ = std::make_shared<std::vector<std::byte>>(large_size);
  RL_MPI_RETURN_IF_ERROR(MPI_Irecv(large_->data(), static_cast<int>(large_size), MPI_BYTE,
                                   what.MPI_SOURCE, kLarge, comm_.get(), &receiving_));
  return Status();
}

bool MpiControlPlane::sent_all() {
  if (!sending_.empty()) (void)test_sends();  // the next poll reports an error again
  return sending_.empty();
}

Status MpiControlPlane::test_sends() {
  for (auto it = sending_.begin(); it != sending_.end();) {
    int done = 0;
    int large_done = 1;
    RL_MPI_RETURN_IF_ERROR(MPI_Test(&it->request, &done, MPI_STATUS_IGNORE));
    if (it->large_request != MPI_REQUEST_NULL) {
      RL_MPI_RETURN_IF_ERROR(MPI_Test(&it->large_request, &large_done, MPI_STATUS_IGNORE));
    }
    it = done != 0 && large_done != 0 ? sending_.erase(it) : std::next(it);
  }
  return Status();
}

}  // namespace ringleader::mpi_transport

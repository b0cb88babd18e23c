// SPDX-License-Identifier: Apache-2.0
#include <ringleader/collectives/ring/lane.h>

#include <algorithm>

namespace ringleader::ring {

Status Lane::advance(std::int64_t limit) {
  while (!in_flight_.empty()) {
    int done = 0;
    RL_MPI_RETURN_IF_ERROR(MPI_Test(&in_flight_.front(), &done, MPI_STATUS_IGNORE));
    if (done == 0) break;
    in_flight_.pop_front();
    ++completed_;
  }
  const std::int64_t end = std::min({limit, segments_, completed_ + kWindow});
  for (; posted_ < end; ++posted_) {
    const SegmentMemory memory = locate_(posted_);
    const int bytes = static_cast<int>(memory.bytes);
    MPI_Request& request = in_flight_.emplace_back(MPI_REQUEST_NULL);
    if (direction_ == Direction::send) {
      RL_MPI_RETURN_IF_ERROR(MPI_Isend(memory.data, bytes, MPI_BYTE, peer_, tag_, comm_, &request));
    } else {
      RL_MPI_RETURN_IF_ERROR(MPI_Irecv(memory.data, bytes, MPI_BYTE, peer_, tag_, comm_, &request));
    }
  }
  return Status();
}

}  // namespace ringleader::ring

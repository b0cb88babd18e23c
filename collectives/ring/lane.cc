// SPDX-License-Identifier: Apache-2.0
#include <ringleader/collectives/ring/lane.h>

#include <ringleader/core/traffic.h>

#include <algorithm>

namespace ringleader::ring {

Status Lane::advance(std::int64_t limit) {
  limit = std::min(limit, segments_);
  const std::int64_t enough = completed_ + kWindow;  // work per call is bounded
  for (;;) {
    for (; posted_ < std::min(limit, completed_ + kWindow); ++posted_) {
      if (const Status status = post(posted_); !status.ok()) return status;
    }
    if (completed_ == posted_ || completed_ == enough) return Status();
    int done = 0;
    MPI_Request& oldest = in_flight_[static_cast<std::size_t>(completed_ % kWindow)];
    RL_MPI_RETURN_IF_ERROR(MPI_Test(&oldest, &done, MPI_STATUS_IGNORE));
    if (done == 0) return Status();
    ++completed_;
  }
}

Status Lane::post(std::int64_t index) {
  const SegmentMemory memory = locate_(index);
  const int bytes = static_cast<int>(memory.bytes);
  MPI_Request& request = in_flight_[static_cast<std::size_t>(index % kWindow)];
  if (direction_ == Direction::send) {
    traffic_meter.sent(memory.bytes);
    RL_MPI_RETURN_IF_ERROR(MPI_Isend(memory.data, bytes, MPI_BYTE, peer_, tag_, comm_, &request));
  } else {
    RL_MPI_RETURN_IF_ERROR(MPI_Irecv(memory.data, bytes, MPI_BYTE, peer_, tag_, comm_, &request));
  }
  return Status();
}

}  // namespace ringleader::ring

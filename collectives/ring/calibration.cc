// SPDX-License-Identifier: Apache-2.0
//
// A model says n-byte messages should have sqrt(n alpha / beta) bytes per segment. Over TCP that is
// wrong: above the eager limit of the MPI library each message needs a handshake, which queues up
// behind the data of the messages before it, and 16 MiB over 1 Gbit/s took 1.02 of the limit with
// segments of 60 KiB and from 1.04 to 1.5 with larger ones. So the sizes are tried.
#include <ringleader/collectives/ring/algorithm.h>
#include <ringleader/collectives/ring/ring_backend.h>

#include <array>
#include <chrono>
#include <memory>
#include <numeric>
#include <thread>
#include <vector>

namespace ringleader::ring {
namespace {

/// Below the eager limits of common transports (64 KiB of TCP, less a header), and beyond.
constexpr std::array<std::int64_t, 4> kCandidates = {16 << 10, 60 << 10, 240 << 10, 960 << 10};

/// At 1 Gbit/s an exchange of so much takes 35 ms.
constexpr std::int64_t kCount = 1 << 20;
constexpr int kRounds = 2;

/// A larger segment, and more scratch memory, has to be worth it.
constexpr double kWorthIt = 0.97;

/// Seconds of the slowest rank; an error of any rank is one of all.
Result<double> time_exchange(const Batch& batch, MPI_Comm comm, std::int64_t segment_bytes) {
  Context context;
  context.batch = &batch;
  context.comm = comm;
  context.segment_bytes = segment_bytes;
  context.input = static_cast<const std::byte*>(batch.tensors[0].input);
  context.output = static_cast<std::byte*>(batch.tensors[0].output);
  RL_MPI_RETURN_IF_ERROR(MPI_Barrier(comm));
  const auto begin = std::chrono::steady_clock::now();
  const auto exchange = make_share_exchange(context);
  std::optional<Status> outcome;
  while (!(outcome = exchange->advance())) std::this_thread::yield();
  if (!outcome->ok()) return *outcome;
  const std::chrono::duration<double> own = std::chrono::steady_clock::now() - begin;
  double slowest = own.count();
  RL_MPI_RETURN_IF_ERROR(MPI_Allreduce(MPI_IN_PLACE, &slowest, 1, MPI_DOUBLE, MPI_MAX, comm));
  return slowest;
}

}  // namespace

Result<std::int64_t> calibrate_segment_bytes(MPI_Comm comm) {
  auto group = std::make_shared<Group>();
  int size = 1;
  RL_MPI_RETURN_IF_ERROR(MPI_Comm_rank(comm, &group->rank));
  RL_MPI_RETURN_IF_ERROR(MPI_Comm_size(comm, &size));
  group->ranks.resize(static_cast<std::size_t>(size));
  std::iota(group->ranks.begin(), group->ranks.end(), 0);
  std::vector<float> elements(kCount, 0.f);
  Batch batch;
  batch.group = group;
  batch.tensors = {{elements.data(), elements.data(), kCount}};
  std::array<double, kCandidates.size()> fastest;
  fastest.fill(1e9);
  for (int round = 0; round < kRounds; ++round) {
    for (std::size_t i = 0; i < kCandidates.size(); ++i) {
      const Result<double> seconds = time_exchange(batch, comm, kCandidates[i]);
      if (!seconds.ok()) return seconds.status();
      fastest[i] = std::min(fastest[i], *seconds);
    }
  }
  // The times are the same on all ranks, and so is what is made of them.
  std::size_t best = 0;
  for (std::size_t i = 1; i < kCandidates.size(); ++i) {
    if (fastest[i] < kWorthIt * fastest[best]) best = i;
  }
  return kCandidates[best];
}

}  // namespace ringleader::ring

// SPDX-License-Identifier: Apache-2.0
//
// A model says that n-byte messages should have sqrt(n alpha / beta) bytes per segment. That is
// wrong over TCP: above the eager limit of an MPI library, each message needs a handshake, which
// queues behind the data of earlier messages. 16 MiB over 1 Gbit/s took 1.02 times the limit with
// segments of 60 KiB, and 1.04 to 1.5 times with larger ones. So a few sizes are tried.
#include <ringleader/collectives/p2p/algorithm.h>
#include <ringleader/collectives/p2p/p2p_backend.h>

#include <array>
#include <chrono>
#include <memory>
#include <optional>
#include <thread>
#include <vector>

namespace ringleader::p2p {
namespace {

/// Bytes per segment: below the eager limits of common transports (64 KiB for TCP, less a header)
/// and above.
constexpr std::array<std::int64_t, 4> kCandidates = {16 << 10, 60 << 10, 240 << 10, 960 << 10};

/// At 1 Gbit/s an exchange of this many elements takes 35 ms.
constexpr std::int64_t kCount = 1 << 20;
constexpr int kRounds = 2;

/// A larger segment needs more scratch memory, so its time must be below this fraction of the best
/// so far.
constexpr double kWorthIt = 0.97;

/// Runs an algorithm to its end; usually the runtime would poll it.
Status finish(Algorithm& algorithm) {
  std::optional<Status> outcome;
  while (!(outcome = algorithm.advance())) std::this_thread::yield();
  return *outcome;
}

/// The largest of all ranks' values. Waits for all ranks.
Result<double> largest(Context context, double own) {
  Batch batch;
  batch.group = context.batch->group;
  batch.dtype = DType::f64;
  batch.reduce_op = ReduceOp::max;
  double result = own;
  batch.tensors = {{&own, &result, 1}};
  context.batch = &batch;
  context.input = reinterpret_cast<const std::byte*>(&own);
  context.output = reinterpret_cast<std::byte*>(&result);
  if (Status status = finish(*make_everybody(context)); !status.ok()) return status;
  return result;
}

/// Seconds that an exchange takes on the slowest rank.
Result<double> time_exchange(const Context& context) {
  if (const auto all = largest(context, 0.0); !all.ok()) return all.status();
  const auto begin = std::chrono::steady_clock::now();
  if (Status status = finish(*make_share_exchange(context)); !status.ok()) return status;
  const std::chrono::duration<double> own = std::chrono::steady_clock::now() - begin;
  return largest(context, own.count());
}

}  // namespace

Result<std::int64_t> calibrate_segment_bytes(Transport& transport,
                                             const std::shared_ptr<const Group>& group) {
  const Result<Endpoint*> endpoint = transport.endpoint(*group);
  if (!endpoint.ok()) return endpoint.status();
  std::vector<float> elements(kCount, 0.f);
  Batch batch;
  batch.group = group;
  batch.tensors = {{elements.data(), elements.data(), kCount}};
  kernels::BufferPool buffers;
  Context context;
  context.batch = &batch;
  context.input = reinterpret_cast<const std::byte*>(elements.data());
  context.output = reinterpret_cast<std::byte*>(elements.data());
  context.endpoint = *endpoint;
  context.buffers = &buffers;
  std::array<double, kCandidates.size()> fastest;
  fastest.fill(1e9);
  for (int round = 0; round < kRounds; ++round) {
    for (std::size_t i = 0; i < kCandidates.size(); ++i) {
      context.segment_bytes = kCandidates[i];
      const Result<double> seconds = time_exchange(context);
      if (!seconds.ok()) return seconds.status();
      fastest[i] = std::min(fastest[i], *seconds);
    }
  }
  // The times are equal on all ranks, so all ranks choose the same size.
  std::size_t best = 0;
  for (std::size_t i = 1; i < kCandidates.size(); ++i) {
    if (fastest[i] < kWorthIt * fastest[best]) best = i;
  }
  return kCandidates[best];
}

}  // namespace ringleader::p2p

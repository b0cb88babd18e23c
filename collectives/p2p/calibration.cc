// SPDX-License-Identifier: Apache-2.0
//
// A model says n-byte messages should have sqrt(n alpha / beta) bytes per segment. Over TCP that is
// wrong: above the eager limit of an MPI library each message needs a handshake, which queues up
// behind the data of the messages before it, and 16 MiB over 1 Gbit/s took 1.02 of the limit with
// segments of 60 KiB and from 1.04 to 1.5 with larger ones. So the sizes are tried.
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

/// Below the eager limits of common transports (64 KiB of TCP, less a header), and beyond.
constexpr std::array<std::int64_t, 4> kCandidates = {16 << 10, 60 << 10, 240 << 10, 960 << 10};

/// At 1 Gbit/s an exchange of so much takes 35 ms.
constexpr std::int64_t kCount = 1 << 20;
constexpr int kRounds = 2;

/// A larger segment, and more scratch memory, has to be worth it.
constexpr double kWorthIt = 0.97;

/// Runs to its end what the runtime would poll.
Status finish(Algorithm& algorithm) {
  std::optional<Status> outcome;
  while (!(outcome = algorithm.advance())) std::this_thread::yield();
  return *outcome;
}

/// The largest of all ranks' values, which waits for all of them.
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

/// Seconds of the slowest rank.
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
  // The times are the same on all ranks, and so is what is made of them.
  std::size_t best = 0;
  for (std::size_t i = 1; i < kCandidates.size(); ++i) {
    if (fastest[i] < kWorthIt * fastest[best]) best = i;
  }
  return kCandidates[best];
}

}  // namespace ringleader::p2p

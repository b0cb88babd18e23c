// SPDX-License-Identifier: Apache-2.0
#include "../support/catch.h"

#include <ringleader/collectives/kernels/staging.h>

#include <cstring>
#include <numeric>
#include <vector>

using namespace ringleader;
using kernels::BufferPool;
using kernels::StagedBatch;

namespace {

/// A pool that counts what it allocates.
struct Counted {
  int allocations = 0;
  BufferPool pool{[this](std::int64_t bytes) {
    ++allocations;
    return BufferPool::Memory(new std::byte[static_cast<std::size_t>(bytes)],
                              std::default_delete<std::byte[]>());
  }};
};

Batch batch_of(std::vector<std::vector<float>>& inputs, std::vector<std::vector<float>>& outputs) {
  Batch batch;
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    const auto count = static_cast<std::int64_t>(inputs[i].size());
    batch.tensors.push_back({inputs[i].data(), outputs[i].data(), count});
  }
  return batch;
}

}  // namespace

TEST_CASE("a pool allocates once for batches of the same size, and keeps a bounded amount") {
  Counted counted;
  for (int i = 0; i < 10; ++i) {
    const auto first = counted.pool.take(5000);
    const auto second = counted.pool.take(6000);
    CHECK(first.get() != second.get());
  }
  CHECK(counted.allocations == 2);
  const std::int64_t large = std::int64_t{48} << 20;
  { const auto buffer = counted.pool.take(large); }
  { const auto buffer = counted.pool.take(large); }
  CHECK(counted.allocations == 3);
  { const auto two = std::pair(counted.pool.take(large), counted.pool.take(large)); }
  CHECK(counted.allocations == 4);
  { const auto two = std::pair(counted.pool.take(large), counted.pool.take(large)); }
  CHECK(counted.allocations == 5);  // one of the two was not kept
}

TEST_CASE("a fused batch is packed and unpacked in pieces of bounded size") {
  std::vector<std::vector<float>> inputs = {std::vector<float>(100000), std::vector<float>(1),
                                            std::vector<float>(200003)};
  float next = 0;
  for (auto& input : inputs) {
    for (float& element : input) element = next++;
  }
  std::vector<std::vector<float>> outputs = inputs;
  for (auto& output : outputs) std::fill(output.begin(), output.end(), -1.f);
  const Batch batch = batch_of(inputs, outputs);
  Counted counted;
  StagedBatch staged(batch, counted.pool);
  const auto pieces = static_cast<int>((batch.count() * 4 + (256 << 10) - 1) / (256 << 10));
  int packs = 1;
  while (!staged.pack_some()) ++packs;
  CHECK(packs == pieces);
  const auto* const packed = reinterpret_cast<const float*>(staged.input());
  CHECK(packed[0] == 0.f);
  CHECK(packed[100001] == 100001.f);
  CHECK(packed[batch.count() - 1] == static_cast<float>(batch.count() - 1));
  int unpacks = 1;
  while (!staged.unpack_some()) ++unpacks;
  CHECK(unpacks == pieces);
  CHECK(outputs == inputs);
}

TEST_CASE("a batch of one tensor is not copied") {
  std::vector<std::vector<float>> inputs = {std::vector<float>(1000, 1.f)};
  std::vector<std::vector<float>> outputs = {std::vector<float>(1000, 2.f)};
  const Batch batch = batch_of(inputs, outputs);
  Counted counted;
  StagedBatch staged(batch, counted.pool);
  CHECK(staged.pack_some());
  CHECK(staged.unpack_some());
  CHECK(counted.allocations == 0);
  CHECK(static_cast<const void*>(staged.input()) == inputs[0].data());
  CHECK(static_cast<void*>(staged.output()) == outputs[0].data());
  CHECK(outputs[0][0] == 2.f);
}

// SPDX-License-Identifier: Apache-2.0
#include "shm_stress.h"

#include <fmt/core.h>

#include <numeric>
#include <random>
#include <thread>

namespace ringleader::test {
namespace {

using Random = std::mt19937_64;

/// Memory of one kind or the other.
class Block {
 public:
  Block(shm::Segment& segment, bool shared, std::int64_t count) : count_(count) {
    const auto bytes = count * static_cast<std::int64_t>(sizeof(float));
    if (shared) shared_ = segment.allocate(bytes);
    if (shared_ == nullptr) own_.resize(static_cast<std::size_t>(count));
    segment_ = &segment;
  }
  ~Block() {
    if (shared_ != nullptr) segment_->free(shared_);
  }
  Block(const Block&) = delete;
  Block& operator=(const Block&) = delete;

  float* data() { return shared_ != nullptr ? static_cast<float*>(shared_) : own_.data(); }
  std::int64_t count() const { return count_; }

 private:
  shm::Segment* segment_;
  std::int64_t count_;
  void* shared_ = nullptr;
  std::vector<float> own_;
};

/// Small integers: their sums are exact.
float value_of(std::uint64_t batch, int rank, std::int64_t index) {
  return static_cast<float>((static_cast<std::int64_t>(batch) * 7 + rank * 3 + index) % 11);
}

struct Item {
  Batch batch;
  std::vector<std::unique_ptr<Block>> inputs;
  std::vector<std::unique_ptr<Block>> outputs;
  Ticket ticket = 0;
  bool ended = false;
};

constexpr std::int64_t kLarge = 1'600'000;

std::int64_t random_count(Random& random) {
  constexpr std::int64_t kLargest[] = {4, 100, 3000, 40'000, 300'000};
  return static_cast<std::int64_t>(random() % static_cast<std::uint64_t>(kLargest[random() % 5]));
}

/// `shared` is thrown by all ranks alike, `own` by each for itself.
std::unique_ptr<Item> make_item(Random& shared, Random& own, shm::Segment& segment,
                                const std::shared_ptr<const Group>& group, std::uint64_t number) {
  constexpr Op kOps[] = {Op::allreduce, Op::allreduce,      Op::allreduce,
                         Op::broadcast, Op::reduce_scatter, Op::allgather};
  auto item = std::make_unique<Item>();
  Batch& batch = item->batch;
  batch.group = group;
  batch.sequence = number;
  // Now and then one that has several chunks per share for each of seven ranks.
  const bool large = shared() % 60 == 0;
  batch.op = large ? Op::allreduce : kOps[shared() % std::size(kOps)];
  batch.root = static_cast<int>(shared() % group->ranks.size());
  const bool fuses = batch.op == Op::allreduce || batch.op == Op::broadcast;
  const std::uint64_t tensors = fuses && !large ? 1 + shared() % 9 : 1;
  // Then the direct way is taken by all or by none.
  const bool alike = large || shared() % 2 == 0;
  const bool all_shared = large || shared() % 2 == 0;
  for (std::uint64_t t = 0; t < tensors; ++t) {
    const std::int64_t count = large ? kLarge : random_count(shared);
    const bool in_arena = alike ? all_shared : own() % 3 > 0;
    item->inputs.push_back(std::make_unique<Block>(segment, in_arena, count));
    float* const input = item->inputs.back()->data();
    for (std::int64_t i = 0; i < count; ++i) input[i] = value_of(number, group->rank, i);
    std::int64_t out_count = count;
    if (batch.op == Op::reduce_scatter) {
      for (int r = 0; r < group->size(); ++r) {
        const auto [begin, end] = share_of(count, group->size(), r);
        batch.block_counts.push_back(end - begin);
      }
      out_count = batch.block_counts[static_cast<std::size_t>(group->rank)];
    }
    if (batch.op == Op::allgather) {
      batch.block_counts.assign(group->ranks.size(), count);
      out_count = count * group->size();
    }
    item->outputs.push_back(std::make_unique<Block>(segment, in_arena, out_count));
    const bool in_place = fuses && own() % 2 == 0;
    batch.tensors.push_back({input, in_place ? input : item->outputs.back()->data(), count});
  }
  return item;
}

float expected_of(const Batch& batch, std::int64_t index) {
  const std::uint64_t number = batch.sequence;
  if (batch.op == Op::broadcast) return value_of(number, batch.root, index);
  if (batch.op == Op::allgather) {
    const std::int64_t count = batch.tensors[0].count;
    return value_of(number, static_cast<int>(index / count), index % count);
  }
  float sum = 0;
  const std::int64_t begin =
      batch.op == Op::reduce_scatter
          ? share_of(batch.tensors[0].count, batch.group->size(), batch.group->rank).first
          : 0;
  for (int r = 0; r < batch.group->size(); ++r) sum += value_of(number, r, begin + index);
  return sum;
}

/// Every `stride`-th element.
void check(const Item& item, std::int64_t stride, std::vector<std::string>& wrong) {
  for (std::size_t t = 0; t < item.batch.tensors.size(); ++t) {
    const auto* const values = static_cast<const float*>(item.batch.tensors[t].output);
    for (std::int64_t i = 0; i < item.outputs[t]->count(); i += stride) {
      if (values[i] == expected_of(item.batch, i)) continue;
      wrong.push_back(fmt::format("rank {}: {} {}, tensor {} of {}: element {} is {}, not {}",
                                  item.batch.group->rank, name_of(item.batch.op),
                                  item.batch.sequence, t, item.batch.tensors.size(), i, values[i],
                                  expected_of(item.batch, i)));
      return;
    }
  }
}

}  // namespace

std::vector<std::string> stress(Backend& backend, shm::Segment& segment,
                                const std::shared_ptr<const Group>& group, int rounds,
                                Watchdog& watchdog) {
  Random shared(99);
  Random own(static_cast<std::uint64_t>(1000 + group->rank));
  std::vector<std::string> wrong;
  std::uint64_t number = 0;
  for (int round = 0; round < rounds; ++round) {
    watchdog.enter(fmt::format("round {} of the stress test", round));
    std::vector<std::unique_ptr<Item>> items;
    const std::uint64_t count = 1 + shared() % 30;
    for (std::uint64_t i = 0; i < count; ++i) {
      items.push_back(make_item(shared, own, segment, group, number++));
    }
    for (auto& item : items) {
      const Result<Ticket> ticket = backend.launch(item->batch);
      if (!ticket.ok()) return {ticket.status().message()};
      item->ticket = *ticket;
    }
    for (std::uint64_t left = count; left > 0;) {
      Item& item = *items[own() % count];
      if (item.ended) continue;
      const std::optional<Status> outcome = backend.poll(item.ticket);
      if (!outcome) {
        if (own() % 4 == 0) std::this_thread::yield();
        continue;
      }
      if (!outcome->ok()) return {outcome->message()};
      item.ended = true;
      --left;
      check(item, 10'007, wrong);  // at once, before what came too early is right after all
      check(item, 1, wrong);
    }
  }
  return wrong;
}

}  // namespace ringleader::test

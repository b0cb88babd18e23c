// SPDX-License-Identifier: Apache-2.0
#include <ringleader/ops/sharded_state.h>

#include <ringleader/ops/collectives.h>
#include <ringleader/ops/memory.h>
#include <ringleader/ops/optimizer_checks.h>

#include <fmt/core.h>

#include <algorithm>
#include <cstring>
#include <functional>
#include <optional>
#include <string>
#include <utility>

namespace ringleader {
namespace {

/// Large enough to be efficient, small enough that the first is ready long before the last one.
constexpr std::int64_t kBucketBytes = std::int64_t{4} << 20;

struct Bucket {
  std::size_t first = 0;  ///< slots [first, last)
  std::size_t last = 0;
  DType dtype = DType::f32;
  std::int64_t share = 0;  ///< elements of each rank
  std::byte* parameters = nullptr;
  std::byte* gradients = nullptr;  ///< of this rank alone
  std::byte* reduced = nullptr;    ///< of all ranks, this rank's share
  std::size_t missing = 0;         ///< gradients to come in this step
  std::optional<Handle> reduction;

  std::size_t share_bytes() const { return static_cast<std::size_t>(share) * size_of(dtype); }
};

/// A slot's place in its bucket, and where it was before.
struct Place {
  std::size_t bucket = 0;
  std::size_t offset = 0;  ///< bytes from the bucket's beginning
  std::byte* parameter = nullptr;
  std::byte* gradient = nullptr;
  void* parameter_home = nullptr;
  void* gradient_home = nullptr;
};

void copy(void* to, const void* from, std::size_t bytes) {
  if (bytes > 0 && to != from) std::memcpy(to, from, bytes);
}

void check(const std::vector<Slot>& slots, const OptimizerOptions& options) {
  const bool on_host = slots.empty() || slots[0].gradient.device() == Device::host;
  const char* const with = !on_host                                   ? "device memory"
                           : options.compression != Compression::none ? "compression"
                           : options.virtual_workers > 0              ? "virtual_workers"
                           : options.average_over_contributors        ? "average_over_contributors"
                           : options.passes_per_step != 1             ? "passes_per_step"
                                                                      : nullptr;
  if (with != nullptr) refuse(options, fmt::format("sharding cannot be combined with {}", with));
}

class ShardedState : public GradientTransport {
 public:
  ShardedState(std::vector<Slot>& slots, std::size_t parameters, GradientMeaning meaning,
               const OptimizerOptions& options)
      : slots_(slots),
        parameters_(parameters),
        meaning_(meaning),
        options_(options),
        ranks_(options.process_set.size()),
        rank_(options.process_set.rank()) {
    check(slots_, options_);
    make_buckets();
    place_slots();
    make_shards();
  }

  ~ShardedState() override {
    if (!runtime::in_forked_child()) static_cast<void>(wait_for_all());
    for (std::size_t i = 0; i < parameters_; ++i) {
      Slot& slot = slots_[i];
      if (slot.move_parameter) move(slot.parameter, slot.move_parameter, places_[i].parameter_home);
      if (slot.move_gradient) move(slot.gradient, slot.move_gradient, places_[i].gradient_home);
    }
  }

  const std::vector<Slot>& shards() const override { return shards_; }

  void submit(std::size_t index, runtime::Runtime::Wake /*wake*/, SourceLocation where) override {
    ReduceOptions reduce;
    reduce.process_set = options_.process_set;
    if (index == parameters_) {
      agreement_ = allreduce_async(options_.name + "/step", slots_[index].gradient, ReduceOp::sum,
                                   reduce, where);
      return;
    }
    const Slot& slot = slots_[index];
    copy(places_[index].gradient, slot.gradient.data(), slot.gradient.bytes());
    Bucket& bucket = buckets_[places_[index].bucket];
    if (--bucket.missing > 0) return;
    const ConstTensorView whole(bucket.gradients, {bucket.share * ranks_}, bucket.dtype);
    const bool mean = meaning_ == GradientMeaning::mean;
    bucket.reduction =
        reduce_scatter_async(name_of(places_[index].bucket, "gradients"), whole,
                             mean ? ReduceOp::average : ReduceOp::sum, reduce, where);
  }

  /// All end before an error is returned: the others still use this rank's memory.
  Status wait_for_all() override {
    Status first_error;
    for (Bucket& bucket : buckets_) {
      bucket.missing = bucket.last - bucket.first;
      if (!bucket.reduction) continue;
      const Status status = bucket.reduction->status();
      if (first_error.ok()) first_error = status;
      if (status.ok()) {
        copy(bucket.reduced, bucket.reduction->output().view().data(), bucket.share_bytes());
      }
      bucket.reduction.reset();
    }
    if (agreement_ && first_error.ok()) first_error = agreement_->status();
    agreement_.reset();
    return first_error;
  }

  /// Every rank gets all parameters.
  void finish_step(SourceLocation where) override {
    std::vector<Handle> handles;
    for (std::size_t b = 0; b < buckets_.size(); ++b) {
      Bucket& bucket = buckets_[b];
      const ConstTensorView own(own_parameters(bucket), {bucket.share}, bucket.dtype);
      handles.push_back(
          allgather_async(name_of(b, "parameters"), own, options_.process_set, where));
    }
    Status first_error;
    for (std::size_t b = 0; b < buckets_.size(); ++b) {
      const Status status = handles[b].status();
      if (first_error.ok()) first_error = status;
      if (!status.ok()) continue;
      const TensorView all = handles[b].output().view();
      copy(buckets_[b].parameters, all.data(), all.bytes());
    }
    throw_if_error(first_error);
    for (std::size_t i = 0; i < parameters_; ++i) {
      copy(slots_[i].parameter.data(), places_[i].parameter, slots_[i].parameter.bytes());
    }
  }

  void moved(std::size_t /*index*/) override {}  // it is copied into its bucket

  double sum_factor() const override { return 1; }

 private:
  std::string name_of(std::size_t bucket, const char* what) const {
    return fmt::format("{}/{} {}", options_.name, what, bucket);
  }

  std::byte* own_parameters(const Bucket& bucket) const {
    return bucket.parameters + static_cast<std::size_t>(rank_) * bucket.share_bytes();
  }

  void make_buckets() {
    std::size_t total = 0;
    for (std::size_t i = 0; i < parameters_;) {
      Bucket bucket;
      bucket.first = i;
      bucket.dtype = slots_[i].parameter.dtype();
      std::int64_t count = 0;
      do {
        count += slots_[i++].parameter.count();
      } while (i < parameters_ && slots_[i].group == slots_[bucket.first].group &&
               slots_[i].parameter.dtype() == bucket.dtype &&
               count * static_cast<std::int64_t>(size_of(bucket.dtype)) < kBucketBytes);
      bucket.last = i;
      bucket.missing = bucket.last - bucket.first;
      // Shards begin on cache lines, so that no two ranks write to one.
      const std::int64_t line = 64 / static_cast<std::int64_t>(size_of(bucket.dtype));
      bucket.share = ((count + ranks_ - 1) / ranks_ + line - 1) / line * line;
      total += (2 * static_cast<std::size_t>(ranks_) + 1) * bucket.share_bytes();
      buckets_.push_back(std::move(bucket));
    }
    memory_.reset(ringleader::allocate(total));
    std::memset(memory_.get(), 0, total);
    auto* next = static_cast<std::byte*>(memory_.get());
    for (Bucket& bucket : buckets_) {
      bucket.parameters = next;
      next += bucket.share_bytes() * static_cast<std::size_t>(ranks_);
      bucket.gradients = next;
      next += bucket.share_bytes() * static_cast<std::size_t>(ranks_);
      bucket.reduced = next;
      next += bucket.share_bytes();
    }
  }

  static void move(TensorView& tensor, const std::function<void(void*)>& tell, void* to) {
    copy(to, tensor.data(), tensor.bytes());
    tensor = TensorView(to, tensor.shape(), tensor.dtype());
    tell(to);
  }

  void place_slots() {
    for (std::size_t b = 0; b < buckets_.size(); ++b) {
      std::size_t offset = 0;
      for (std::size_t i = buckets_[b].first; i < buckets_[b].last; ++i) {
        Slot& slot = slots_[i];
        Place place{b,
                    offset,
                    buckets_[b].parameters + offset,
                    buckets_[b].gradients + offset,
                    slot.parameter.data(),
                    slot.gradient.data()};
        offset += slot.parameter.bytes();
        copy(place.parameter, slot.parameter.data(), slot.parameter.bytes());
        if (slot.move_parameter) move(slot.parameter, slot.move_parameter, place.parameter);
        if (slot.move_gradient) move(slot.gradient, slot.move_gradient, place.gradient);
        places_.push_back(place);
      }
    }
  }

  /// A piece of each parameter of which this rank has some, so that one without a gradient can be
  /// left out of a step.
  void make_shards() {
    for (std::size_t i = 0; i < parameters_; ++i) {
      const Bucket& bucket = buckets_[places_[i].bucket];
      const std::size_t begin = static_cast<std::size_t>(rank_) * bucket.share_bytes();
      const std::size_t offset = places_[i].offset;
      const std::size_t first = std::max(begin, offset);
      const std::size_t last =
          std::min(begin + bucket.share_bytes(), offset + slots_[i].parameter.bytes());
      if (first >= last) continue;
      const auto count = static_cast<std::int64_t>((last - first) / size_of(bucket.dtype));
      Slot shard;
      shard.name = slots_[i].name;
      shard.parameter = TensorView(bucket.parameters + first, {count}, bucket.dtype);
      shard.gradient = TensorView(bucket.reduced + (first - begin), {count}, bucket.dtype);
      shard.group = slots_[i].group;
      shard.part_of = i;
      shards_.push_back(std::move(shard));
    }
  }

  struct Free {
    void operator()(void* memory) const { ringleader::free(memory); }
  };

  std::vector<Slot>& slots_;
  const std::size_t parameters_;
  const GradientMeaning meaning_;
  const OptimizerOptions options_;
  const int ranks_;
  const int rank_;
  std::unique_ptr<void, Free> memory_;
  std::vector<Bucket> buckets_;
  std::vector<Place> places_;  ///< per parameter
  std::vector<Slot> shards_;
  std::optional<Handle> agreement_;
};

}  // namespace

std::unique_ptr<GradientTransport> make_sharded_state(std::vector<Slot>& slots,
                                                      std::size_t parameters,
                                                      GradientMeaning meaning,
                                                      const OptimizerOptions& options) {
  return std::make_unique<ShardedState>(slots, parameters, meaning, options);
}

}  // namespace ringleader

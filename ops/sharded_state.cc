// SPDX-License-Identifier: Apache-2.0
#include <ringleader/ops/sharded_state.h>

#include <ringleader/ops/collectives.h>
#include <ringleader/ops/memory.h>
#include <ringleader/ops/optimizer_checks.h>

#include <fmt/core.h>

#include <cstring>
#include <mutex>
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
  std::byte* gradients = nullptr;
  std::size_t missing = 0;  ///< gradients to come in this step
  std::optional<Handle> reduction;

  std::size_t share_bytes() const { return static_cast<std::size_t>(share) * size_of(dtype); }
};

/// A slot's place in its bucket, and where it was before.
struct Place {
  std::size_t bucket = 0;
  std::byte* parameter = nullptr;
  std::byte* gradient = nullptr;
  void* parameter_home = nullptr;
  void* gradient_home = nullptr;
};

void copy(void* to, const void* from, std::size_t bytes) {
  if (bytes > 0 && to != from) std::memcpy(to, from, bytes);
}

void clear(void* memory, std::size_t bytes) {
  if (bytes > 0) std::memset(memory, 0, bytes);
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

}  // namespace

class ShardedState::Impl {
 public:
  Impl(std::vector<Slot> slots, GradientMeaning meaning, const OptimizerOptions& options,
       SourceLocation where)
      : slots_(std::move(slots)),
        meaning_(meaning),
        options_(options),
        ranks_(options.process_set.size()),
        rank_(options.process_set.rank()) {
    check(slots_, options_);
    {  // agrees on names, shapes and order, and broadcasts the parameters
      const GradientReducer agreement(slots_, meaning, options, where);
    }
    make_buckets();
    place_slots();
    claim_.emplace(slots_, options_.name);
    make_shards();
    begin_step();
  }

  ~Impl() {
    for (Bucket& bucket : buckets_) {
      if (bucket.reduction) static_cast<void>(bucket.reduction->status());
    }
    for (std::size_t i = 0; i < slots_.size(); ++i) {
      Slot& slot = slots_[i];
      if (slot.move_parameter) move(slot.parameter, slot.move_parameter, places_[i].parameter_home);
      if (slot.move_gradient) move(slot.gradient, slot.move_gradient, places_[i].gradient_home);
    }
    ringleader::free(memory_);
  }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  const std::vector<Slot>& shards() const { return shards_; }
  std::size_t parameters() const { return slots_.size(); }

  void ready(std::size_t index, SourceLocation where) {
    const std::lock_guard lock(mutex_);
    if (index >= slots_.size()) refuse(options_, fmt::format("there is no parameter {}", index));
    if (ready_[index] || synchronized_) {
      refuse(options_, fmt::format("the gradient of '{}' was announced twice in one step",
                                   slots_[index].name));
    }
    announced_ = true;
    ready_[index] = true;
    const Slot& slot = slots_[index];
    copy(places_[index].gradient, slot.gradient.data(), slot.gradient.bytes());
    Bucket& bucket = buckets_[places_[index].bucket];
    if (--bucket.missing == 0) reduce(places_[index].bucket, where);
  }

  void synchronize(SourceLocation where) {
    const std::lock_guard lock(mutex_);
    if (synchronized_) return;
    for (std::size_t b = buckets_.size(); b-- > 0;) {
      Bucket& bucket = buckets_[b];
      if (bucket.reduction) continue;
      for (std::size_t i = bucket.first; i < bucket.last; ++i) take_as_it_is(i);
      reduce(b, where);
    }
    Status first_error;
    for (Bucket& bucket : buckets_) {
      const Status status = bucket.reduction->status();
      if (first_error.ok()) first_error = status;
      if (status.ok()) {
        copy(own_gradient(bucket), bucket.reduction->output().view().data(), bucket.share_bytes());
      }
      bucket.reduction.reset();
    }
    if (!first_error.ok()) {
      begin_step();
      throw Error(first_error);
    }
    synchronized_ = true;
  }

  void gather(SourceLocation where) {
    const std::lock_guard lock(mutex_);
    std::vector<Handle> handles;
    for (std::size_t b = 0; b < buckets_.size(); ++b) {
      Bucket& bucket = buckets_[b];
      const ConstTensorView own(own_parameter(bucket), {bucket.share}, bucket.dtype);
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
    begin_step();
    throw_if_error(first_error);
    for (std::size_t i = 0; i < slots_.size(); ++i) {
      copy(slots_[i].parameter.data(), places_[i].parameter, slots_[i].parameter.bytes());
    }
  }

  void zero_gradients() {
    for (const Slot& slot : slots_) clear(slot.gradient.data(), slot.gradient.bytes());
  }

 private:
  std::string name_of(std::size_t bucket, const char* what) const {
    return fmt::format("{}/{} {}", options_.name, what, bucket);
  }
  std::byte* own_parameter(const Bucket& bucket) const {
    return bucket.parameters + static_cast<std::size_t>(rank_) * bucket.share_bytes();
  }
  std::byte* own_gradient(const Bucket& bucket) const {
    return bucket.gradients + static_cast<std::size_t>(rank_) * bucket.share_bytes();
  }

  void make_buckets() {
    std::size_t total = 0;
    for (std::size_t i = 0; i < slots_.size();) {
      Bucket bucket;
      bucket.first = i;
      bucket.dtype = slots_[i].parameter.dtype();
      std::int64_t count = 0;
      do {
        count += slots_[i++].parameter.count();
      } while (i < slots_.size() && slots_[i].group == slots_[bucket.first].group &&
               slots_[i].parameter.dtype() == bucket.dtype &&
               count * static_cast<std::int64_t>(size_of(bucket.dtype)) < kBucketBytes);
      bucket.last = i;
      // Shards begin on cache lines, so that no two ranks write to one.
      const std::int64_t line = 64 / static_cast<std::int64_t>(size_of(bucket.dtype));
      bucket.share = ((count + ranks_ - 1) / ranks_ + line - 1) / line * line;
      total += 2 * bucket.share_bytes() * static_cast<std::size_t>(ranks_);
      buckets_.push_back(std::move(bucket));
    }
    memory_ = ringleader::allocate(total);
    std::memset(memory_, 0, total);
    auto* next = static_cast<std::byte*>(memory_);
    for (Bucket& bucket : buckets_) {
      bucket.parameters = next;
      next += bucket.share_bytes() * static_cast<std::size_t>(ranks_);
      bucket.gradients = next;
      next += bucket.share_bytes() * static_cast<std::size_t>(ranks_);
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
        Place place{b, buckets_[b].parameters + offset, buckets_[b].gradients + offset,
                    slot.parameter.data(), slot.gradient.data()};
        offset += slot.parameter.bytes();
        copy(place.parameter, slot.parameter.data(), slot.parameter.bytes());
        if (slot.move_parameter) move(slot.parameter, slot.move_parameter, place.parameter);
        if (slot.move_gradient) move(slot.gradient, slot.move_gradient, place.gradient);
        places_.push_back(place);
      }
    }
  }

  void make_shards() {
    for (const Bucket& bucket : buckets_) {
      Slot shard;
      shard.name = fmt::format("shard {}", shards_.size());
      shard.parameter = TensorView(own_parameter(bucket), {bucket.share}, bucket.dtype);
      shard.gradient = TensorView(own_gradient(bucket), {bucket.share}, bucket.dtype);
      shard.group = slots_[bucket.first].group;
      shards_.push_back(std::move(shard));
    }
  }

  /// A gradient that was not announced: missing, once the program announces, else complete.
  void take_as_it_is(std::size_t index) {
    if (ready_[index]) return;
    const TensorView& gradient = slots_[index].gradient;
    if (announced_) {
      clear(places_[index].gradient, gradient.bytes());
    } else {
      copy(places_[index].gradient, gradient.data(), gradient.bytes());
    }
  }

  void reduce(std::size_t index, SourceLocation where) {
    Bucket& bucket = buckets_[index];
    const ConstTensorView whole(bucket.gradients, {bucket.share * ranks_}, bucket.dtype);
    ReduceOptions reduce;
    reduce.process_set = options_.process_set;
    const bool mean = meaning_ == GradientMeaning::mean;
    bucket.reduction =
        reduce_scatter_async(name_of(index, "gradients"), whole,
                             mean ? ReduceOp::average : ReduceOp::sum, reduce, where);
  }

  void begin_step() {
    ready_.assign(slots_.size(), false);
    for (Bucket& bucket : buckets_) bucket.missing = bucket.last - bucket.first;
    synchronized_ = false;
  }

  std::vector<Slot> slots_;
  GradientMeaning meaning_;
  OptimizerOptions options_;
  int ranks_;
  int rank_;
  std::optional<ParameterClaim> claim_;
  void* memory_ = nullptr;
  std::vector<Bucket> buckets_;
  std::vector<Place> places_;  ///< per slot
  std::vector<Slot> shards_;   ///< per bucket

  std::mutex mutex_;
  std::vector<bool> ready_;  ///< per slot: announced in this step
  bool synchronized_ = false;
  bool announced_ = false;
};

ShardedState::ShardedState(std::vector<Slot> slots, GradientMeaning meaning,
                           const OptimizerOptions& options, SourceLocation where)
    : impl_(std::make_unique<Impl>(std::move(slots), meaning, options, where)) {}
ShardedState::~ShardedState() = default;
const std::vector<Slot>& ShardedState::shards() const { return impl_->shards(); }
void ShardedState::ready(std::size_t index, SourceLocation where) { impl_->ready(index, where); }
void ShardedState::synchronize(SourceLocation where) { impl_->synchronize(where); }
void ShardedState::gather(SourceLocation where) { impl_->gather(where); }
void ShardedState::zero_gradients() { impl_->zero_gradients(); }
std::size_t ShardedState::parameters() const { return impl_->parameters(); }

}  // namespace ringleader

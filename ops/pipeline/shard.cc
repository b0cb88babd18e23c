// SPDX-License-Identifier: Apache-2.0
//
// Shard: the state of an optimizer is divided among the ranks (ZeRO stage 1, Rajbhandari et al.
// 2020). Each rank gets the sum of the gradients of its shard only, steps its shard, and collects
// the others' parameters. This sends as many bytes as one allreduce.
//
//   parameters   | p0 | p1 | p2 |pad|  p3  | p4 |pad|      buckets of whole parameters, padded to a
//                |    bucket 0      |   bucket 1    |      multiple of the number of ranks
//   rank 0       |#########         |#######        |
//   rank 1       |         #########|       ########|
//
// One plan holds all of it: for each bucket a reduce_scatter of gradients, then, in the second
// phase, an allgather of parameters. A bucket's reduce_scatter begins when its last gradient is
// ready, while others are still being computed. Parameters and gradients that can be moved are kept
// in the buckets; the others are copied in every step.
#include <ringleader/collectives/kernels/pieces.h>
#include <ringleader/collectives/kernels/reduce.h>
#include <ringleader/ops/memory.h>
#include <ringleader/ops/pipeline/gradient_memory.h>
#include <ringleader/ops/pipeline/optimizer_checks.h>
#include <ringleader/ops/pipeline/pipeline.h>
#include <ringleader/ops/pipeline/plan.h>
#include <ringleader/ops/session/current_session.h>

#include <fmt/core.h>

#include <algorithm>
#include <cstring>
#include <functional>
#include <optional>
#include <string>
#include <utility>

namespace ringleader {
namespace {

/// Large enough to be efficient, small enough that the first bucket is ready long before the last.
constexpr std::int64_t kBucketBytes = std::int64_t{4} << 20;

struct Bucket {
  std::size_t first = 0;  ///< slots [first, last)
  std::size_t last = 0;
  DType dtype = DType::f32;
  DType travels = DType::f32;  ///< the type in which gradients are sent
  std::int64_t share = 0;      ///< elements of each rank
  std::byte* parameters = nullptr;
  std::byte* gradients = nullptr;  ///< of this rank alone, as they travel
  std::byte* reduced = nullptr;    ///< this rank's share of all ranks', as it travels
  std::byte* stepped = nullptr;    ///< the same in the type of the parameters
  std::size_t missing = 0;         ///< gradients to come in this step

  std::size_t share_bytes() const { return static_cast<std::size_t>(share) * size_of(dtype); }
  std::size_t travelling_bytes() const {
    return static_cast<std::size_t>(share) * size_of(travels);
  }
};

/// A slot's place in its bucket, and where it was before.
struct Place {
  std::size_t bucket = 0;
  std::int64_t offset = 0;  ///< elements from the bucket's beginning
  void* parameter_home = nullptr;
  void* gradient_home = nullptr;
};

std::int64_t elements_of_line(DType dtype) {
  return 64 / static_cast<std::int64_t>(size_of(dtype));
}

std::int64_t round_up(std::int64_t count, std::int64_t unit) {
  return (count + unit - 1) / unit * unit;
}

void copy(void* to, const void* from, std::size_t bytes) {
  if (bytes > 0 && to != from) std::memcpy(to, from, bytes);
}

struct Free {
  void operator()(void* memory) const { ringleader::free(memory); }
};

class Shard : public Pipeline {
 public:
  Shard(const PipelineSpec& spec, SourceLocation where)
      : slots_(spec.slots),
        parameters_(spec.parameters),
        options_(spec.options),
        ranks_(options_.process_set.size()),
        rank_(options_.process_set.rank()),
        sum_factor_(spec.sum_factor()) {
    make_buckets();
    plan_.emplace(title_of(options_), request_of(spec), where);
    place_tensors();
    place_slots();
    make_shards();
  }

  ~Shard() override {
    if (!runtime::in_forked_child()) static_cast<void>(wait_for_all());
    plan_.reset();
    for (std::size_t i = 0; i < parameters_; ++i) {
      Slot& slot = slots_[i];
      if (slot.move_parameter) move(slot.parameter, slot.move_parameter, places_[i].parameter_home);
      if (places_[i].gradient_home != nullptr) {
        move(slot.gradient, slot.move_gradient, places_[i].gradient_home);
      }
    }
  }

  std::span<const Slot> stepped() const override { return shards_; }
  double sum_factor() const override { return sum_factor_; }

  void submit(std::size_t index, runtime::Runtime::Wake wake, SourceLocation where) override {
    // The program has skipped the previous step: its second phase is still to come.
    if (is_open_) finish_step(where);
    if (index == parameters_) return plan_->submit(agreement(), wake, where);
    const Place& place = places_[index];
    Bucket& bucket = buckets_[place.bucket];
    const TensorView& gradient = slots_[index].gradient;
    std::byte* const to = kernels::at(bucket.gradients, place.offset, bucket.travels);
    if (bucket.travels != bucket.dtype) {
      kernels::convert(bucket.dtype, gradient.data(), bucket.travels, to, gradient.count());
    } else {
      copy(to, gradient.data(), gradient.bytes());
    }
    if (--bucket.missing == 0) plan_->submit(place.bucket, wake, where);
  }

  Status wait_for_all() override {
    Status first_error;
    for (std::size_t b = buckets_.size(); b-- > 0;) {
      Bucket& bucket = buckets_[b];
      bucket.missing = bucket.last - bucket.first;
      const Status status = plan_->wait(b);
      if (first_error.ok()) first_error = status;
      if (status.ok() && bucket.travels != bucket.dtype) {
        kernels::convert(bucket.travels, bucket.reduced, bucket.dtype, bucket.stepped,
                         bucket.share);
      }
    }
    if (has_agreement()) {
      const Status status = plan_->wait(agreement());
      if (first_error.ok()) first_error = status;
    }
    is_open_ = first_error.ok();
    return first_error;
  }

  void finish_step(SourceLocation where) override {
    is_open_ = false;
    for (std::size_t b = 0; b < buckets_.size(); ++b) {
      plan_->submit(gathering(b), runtime::Runtime::Wake::yes, where);
    }
    Status first_error;
    for (std::size_t b = 0; b < buckets_.size(); ++b) {
      const Status status = plan_->wait(gathering(b));
      if (first_error.ok()) first_error = status;
      for (std::size_t i = buckets_[b].first; status.ok() && i < buckets_[b].last; ++i) {
        copy(slots_[i].parameter.data(), parameter_at(i), slots_[i].parameter.bytes());
      }
    }
    throw_if_error(first_error);
  }

  void moved(std::size_t /*index*/) override {}  // it is copied into its bucket

  void add_up(std::span<std::int64_t> numbers, SourceLocation where) override {
    if (sum_ == nullptr) {
      protocol::Request request;
      request.kind = protocol::RequestKind::register_plan;
      request.process_set = options_.process_set.id;
      request.name = fmt::format("{}plan/{}/sum", kReservedPrefix, options_.name);
      request.tensors.push_back(
          {"ringleader/sum", {static_cast<std::int64_t>(numbers.size())}, DType::i64});
      addends_.assign(numbers.begin(), numbers.end());
      sum_ = std::make_unique<Plan>(title_of(options_), std::move(request), where);
      sum_->place(0, {addends_.data(), addends_.data()});
    }
    std::copy(numbers.begin(), numbers.end(), addends_.begin());
    sum_->submit(0, runtime::Runtime::Wake::no, where);
    throw_if_error(sum_->wait(0));
    std::copy(addends_.begin(), addends_.end(), numbers.begin());
  }

 private:
  // The plan's tensors: gradients of each bucket, the agreement, parameters of each bucket.
  bool has_agreement() const { return slots_.size() > parameters_; }
  std::size_t agreement() const { return buckets_.size(); }
  std::size_t gathering(std::size_t bucket) const {
    return buckets_.size() + (has_agreement() ? 1 : 0) + bucket;
  }

  std::byte* own_parameters(const Bucket& bucket) const {
    return bucket.parameters + static_cast<std::size_t>(rank_) * bucket.share_bytes();
  }

  std::byte* parameter_at(std::size_t index) const {
    const Bucket& bucket = buckets_[places_[index].bucket];
    return kernels::at(bucket.parameters, places_[index].offset, bucket.dtype);
  }

  protocol::Request request_of(const PipelineSpec& spec) const {
    protocol::Request request = plan_request(spec);
    request.name += "/shards";
    for (std::size_t b = 0; b < buckets_.size(); ++b) {
      protocol::TensorSpec& tensor = request.tensors.emplace_back();
      tensor = {fmt::format("gradients {}", b), {buckets_[b].share * ranks_}, buckets_[b].travels};
      tensor.op = Op::reduce_scatter;
    }
    if (has_agreement()) {
      const TensorView& view = slots_[parameters_].gradient;
      request.tensors.push_back({slots_[parameters_].name, view.shape(), view.dtype()});
    }
    for (std::size_t b = 0; b < buckets_.size(); ++b) {
      protocol::TensorSpec& tensor = request.tensors.emplace_back();
      tensor = {fmt::format("parameters {}", b), {buckets_[b].share}, buckets_[b].dtype};
      tensor.op = Op::allgather;
      tensor.phase = 1;
    }
    return request;
  }

  void place_tensors() {
    for (std::size_t b = 0; b < buckets_.size(); ++b) {
      plan_->place(b, {buckets_[b].gradients, buckets_[b].reduced});
      plan_->place(gathering(b), {own_parameters(buckets_[b]), buckets_[b].parameters});
    }
    if (!has_agreement()) return;
    void* const said = slots_[parameters_].gradient.data();
    plan_->place(agreement(), {said, said});
  }

  void make_buckets() {
    const DType compressed = compressed_type(options_.compression);
    std::size_t total = 0;
    for (std::size_t i = 0; i < parameters_;) {
      Bucket bucket;
      bucket.first = i;
      bucket.dtype = slots_[i].parameter.dtype();
      bucket.travels = wire_type(bucket.dtype, compressed);
      // Slots and shards begin on cache lines: no two ranks write to the same line, and sums over
      // lines are the same however many ranks there are.
      const std::int64_t line = elements_of_line(bucket.dtype);
      std::int64_t count = 0;
      do {
        places_.push_back({buckets_.size(), count, slots_[i].parameter.data(), nullptr});
        count += round_up(slots_[i++].parameter.count(), line);
      } while (i < parameters_ && slots_[i].group == slots_[bucket.first].group &&
               slots_[i].parameter.dtype() == bucket.dtype &&
               count * static_cast<std::int64_t>(size_of(bucket.dtype)) < kBucketBytes);
      bucket.last = i;
      bucket.missing = bucket.last - bucket.first;
      bucket.share = round_up((count + ranks_ - 1) / ranks_, line);
      total += bytes_of(bucket);
      buckets_.push_back(bucket);
    }
    memory_.reset(ringleader::allocate(total));
    std::memset(memory_.get(), 0, total);
    auto* next = static_cast<std::byte*>(memory_.get());
    const auto take = [&next](std::size_t bytes) { return std::exchange(next, next + bytes); };
    const auto ranks = static_cast<std::size_t>(ranks_);
    for (Bucket& bucket : buckets_) {
      bucket.parameters = take(ranks * bucket.share_bytes());
      bucket.gradients = take(ranks * bucket.travelling_bytes());
      bucket.reduced = bucket.stepped = take(bucket.travelling_bytes());
      if (bucket.travels != bucket.dtype) bucket.stepped = take(bucket.share_bytes());
    }
  }

  std::size_t bytes_of(const Bucket& bucket) const {
    const auto ranks = static_cast<std::size_t>(ranks_);
    const std::size_t wide_bytes = bucket.travels != bucket.dtype ? bucket.share_bytes() : 0;
    return ranks * bucket.share_bytes() + (ranks + 1) * bucket.travelling_bytes() + wide_bytes;
  }

  static void move(TensorView& tensor, const std::function<void(void*)>& tell, void* to) {
    copy(to, tensor.data(), tensor.bytes());
    tensor = TensorView(to, tensor.shape(), tensor.dtype());
    tell(to);
  }

  void place_slots() {
    for (std::size_t i = 0; i < parameters_; ++i) {
      Slot& slot = slots_[i];
      const Bucket& bucket = buckets_[places_[i].bucket];
      copy(parameter_at(i), slot.parameter.data(), slot.parameter.bytes());
      if (slot.move_parameter) move(slot.parameter, slot.move_parameter, parameter_at(i));
      if (!slot.move_gradient || bucket.travels != bucket.dtype) continue;
      places_[i].gradient_home = slot.gradient.data();
      move(slot.gradient, slot.move_gradient,
           kernels::at(bucket.gradients, places_[i].offset, bucket.dtype));
    }
  }

  /// Makes one shard for each parameter of which this rank has a part, so that a parameter without
  /// a gradient can be left out of a step.
  void make_shards() {
    for (std::size_t i = 0; i < parameters_; ++i) {
      const Bucket& bucket = buckets_[places_[i].bucket];
      const std::int64_t begin = rank_ * bucket.share;
      const std::int64_t offset = places_[i].offset;
      const std::int64_t first = std::max(begin, offset);
      const std::int64_t last =
          std::min(begin + bucket.share, offset + slots_[i].parameter.count());
      if (first >= last) continue;
      Slot shard;
      shard.name = slots_[i].name;
      shard.parameter = TensorView(kernels::at(bucket.parameters, first, bucket.dtype),
                                   {last - first}, bucket.dtype);
      shard.gradient = TensorView(kernels::at(bucket.stepped, first - begin, bucket.dtype),
                                  {last - first}, bucket.dtype);
      shard.group = slots_[i].group;
      shard.part_of = i;
      shards_.push_back(std::move(shard));
    }
  }

  std::vector<Slot>& slots_;
  const std::size_t parameters_;
  const OptimizerOptions options_;
  const int ranks_;
  const int rank_;
  const double sum_factor_;
  std::unique_ptr<void, Free> memory_;
  std::vector<Bucket> buckets_;
  std::vector<Place> places_;  ///< per parameter
  std::vector<Slot> shards_;
  std::optional<Plan> plan_;
  bool is_open_ = false;       ///< gradients have arrived, and parameters were not collected since
  std::unique_ptr<Plan> sum_;  ///< made when it is first asked for
  std::vector<std::int64_t> addends_;
};

}  // namespace

std::unique_ptr<Pipeline> make_shard(const PipelineSpec& spec, SourceLocation where) {
  return std::make_unique<Shard>(spec, where);
}

}  // namespace ringleader

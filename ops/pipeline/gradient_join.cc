// SPDX-License-Identifier: Apache-2.0
//
// A rank that has no more data, until all ranks have come to its end.
#include <ringleader/ops/broadcast.h>
#include <ringleader/ops/collectives.h>
#include <ringleader/ops/pipeline/gradient_reducer_impl.h>

#include <fmt/core.h>

#include <cstring>
#include <utility>

namespace ringleader {

/// This rank has no more data. It completes what it has begun.
void GradientReducer::Impl::finish_join() {
  {
    const std::lock_guard lock(mutex_);
    if (failed_pass_ || (!synchronized_ && begun())) complete(failed_pass_, {});
    forget_passes();
  }
  if (sharded()) return join_shards();
  const ProcessSet process_set = options_.process_set;
  const int last = ringleader::join(process_set);
  broadcast_parameters(parameter_slots(), last, process_set);
  auto steps = static_cast<std::int64_t>(steps_);
  broadcast(options_.name + "/steps", TensorView(&steps, {1}), last, process_set);
  const bool handed_over = hooks_.hand_over != nullptr && hooks_.hand_over(last);
  std::int32_t differs = static_cast<std::int64_t>(steps_) == steps ? 0 : 1;
  ReduceOptions reduce;
  reduce.process_set = process_set;
  allreduce(options_.name + "/steps differ", TensorView(&differs, {1}), ReduceOp::max, reduce);
  const std::lock_guard lock(mutex_);
  state_unknown_ = differs != 0 && !handed_over && !options_.stateless;
  steps_ = static_cast<std::uint64_t>(steps);
  periods_ = 0;
}

/// No other rank has this rank's shard of the state, so it steps along with the others, on their
/// gradients, until no rank has data. Then all ranks have the same parameters, and each its state.
void GradientReducer::Impl::join_shards() {
  for (bool others_have_data = true; others_have_data;) {
    bool steps = false;
    {
      const std::lock_guard lock(mutex_);
      clear_gradients();
      joined_ = true;
      try {
        complete(false, {});
      } catch (...) {
        joined_ = false;
        throw;
      }
      joined_ = false;
      others_have_data = contributors_ > 0;
      steps = others_have_data && !all_abandon_;
    }
    if (steps) hooks_.update(used());
    const std::lock_guard lock(mutex_);
    pipeline_->finish_step({});
    if (steps) ++steps_;
  }
}

void GradientReducer::Impl::clear_gradients() {
  for (std::size_t i = 0; i < parameters_; ++i) {
    const TensorView& gradient = slots_[i].gradient;
    if (gradient.bytes() > 0) std::memset(gradient.data(), 0, gradient.bytes());
  }
}

}  // namespace ringleader

// SPDX-License-Identifier: Apache-2.0
#include <ringleader/ops/gradient_reducer.h>

#include <ringleader/core/log.h>
#include <ringleader/ops/broadcast.h>
#include <ringleader/ops/pipeline/gradient_reducer_impl.h>
#include <ringleader/ops/pipeline/optimizer_checks.h>
#include <ringleader/ops/pipeline/scaling.h>
#include <ringleader/ops/session.h>
#include <ringleader/ops/session/current_session.h>

#include <fmt/core.h>
#include <xxhash.h>

#include <algorithm>
#include <cstring>
#include <utility>

namespace ringleader {
namespace {

/// Settings that must agree (learning rates) are compared once in this many periods. Each
/// comparison costs the adapter a visit.
constexpr std::uint64_t kPeriodsPerComparison = 16;

/// Gradients of up to this many bytes in all are submitted together, when the last one has been
/// announced: there is nothing to overlap, one batch costs less than several, and a backward pass
/// that fails leaves none of them in flight.
constexpr std::size_t kTogetherBytes = 64 << 10;

std::size_t bytes_of(const std::vector<Slot>& slots) {
  std::size_t bytes = 0;
  for (const Slot& slot : slots) bytes += slot.gradient.bytes();
  return bytes;
}

/// The 20 bits of a hash that are sent.
std::uint32_t folded(std::uint64_t hash) { return static_cast<std::uint32_t>(hash & 0xfffffU); }

std::uint32_t hash_of(const std::vector<std::pair<std::string, double>>& scalars) {
  std::uint64_t hash = 0;
  for (const auto& scalar : scalars) {
    hash = XXH3_64bits_withSeed(&scalar.second, sizeof scalar.second, hash);
  }
  return folded(hash);
}

std::vector<Slot> with_names(std::vector<Slot> slots,
                             const std::map<const void*, std::string>& names) {
  for (Slot& slot : slots) {
    const auto name = names.find(slot.parameter.data());
    if (name != names.end()) slot.name = name->second;
  }
  return slots;
}

}  // namespace

GradientReducer::Impl::Impl(std::vector<Slot> slots, GradientMeaning meaning,
                            const OptimizerOptions& options, ReducerHooks hooks,
                            SourceLocation where)
    : slots_(with_names(std::move(slots), options.parameter_names)),
      parameters_(slots_.size()),
      meaning_(meaning),
      options_(options),
      set_size_(options.process_set.size()),
      rank_(rank()),
      hooks_(std::move(hooks)),
      used_here_(slots_.size(), false),
      unannounced_(slots_.size(), 0),
      ever_used_(slots_.size(), false),
      announced_(exchanges_use()) {
  const auto runtime = current_runtime("DistributedOptimizer");
  joins_ = runtime->joins_done(options_.process_set.id);
  all_joins_ = runtime->joins_done();
  runtime_ = runtime;
  device_ = current_device();
  contributors_ = set_size_;
  check_optimizer(slots_, options_);
  passes_ = options_.virtual_workers > 0 ? options_.virtual_workers / options_.process_set.size()
                                         : options_.passes_per_step;
  if (options_.virtual_workers > 0) sums_.assign(parameters_, TreeAccumulator(passes_));
  together_ = bytes_of(slots_) <= kTogetherBytes && slots_[0].gradient.device() == Device::host;
  claim_.emplace(slots_, options_.name);  // before anything that is already wrapped can be moved
  if (slots_.front().gradient.device() == Device::host) {
    // In the type of the gradients, so that it needs no batch of its own. It must not be rounded.
    const bool has_f32 = std::any_of(slots_.begin(), slots_.end(), [](const Slot& slot) {
      return slot.gradient.dtype() == DType::f32;
    });
    const bool narrow = !has_f32 || options_.compression != Compression::none;
    const StepAgreement::Compared compared{
        hooks_.scalars != nullptr, hooks_.point != nullptr || meaning_ == GradientMeaning::sum};
    agreement_.emplace(compared, exchanges_use() ? parameters_ : 0,
                       narrow ? DType::f64 : DType::f32);
    slots_.push_back({"ringleader/step", agreement_->view(), agreement_->view(), {}});
  }
  announcements_.assign(parameters_, 0);
  held_back_.assign(parameters_, false);
  submitted_.assign(slots_.size(), false);
  const PipelineSpec spec{slots_, parameters_, meaning_, options_, passes_, together_};
  if (sharded()) {
    compare_parameters(spec, where);
  } else {
    pipeline_ = make_replicate(spec, where);
  }
  if (options_.broadcast_parameters) {
    ringleader::broadcast_parameters(parameter_slots(), options_.root, options_.process_set);
  }
  if (sharded()) {
    pipeline_ = make_shard(spec, where);
    claim_.emplace(parameter_slots(), options_.name);
  }
  log_options();
}

/// If the program destroys the wrapper while gradients are in flight, the other ranks' memory and
/// ours must stay until those have arrived: the step ends with what there is.
GradientReducer::Impl::~Impl() {
  const std::lock_guard lock(mutex_);
  report_unused();
  if (!in_flight()) return;
  try {
    submit_rest(false, {});
    static_cast<void>(pipeline_->wait_for_all());
  } catch (const Error&) {  // the library has ended, and nothing is in flight any more
  }
}

std::string GradientReducer::Impl::title() const { return title_of(options_); }

std::vector<Slot> GradientReducer::Impl::parameter_slots() const {
  return {slots_.begin(), slots_.begin() + static_cast<std::ptrdiff_t>(parameters_)};
}

void GradientReducer::Impl::log_options() const {
  if (log_level() > LogLevel::debug) return;
  constexpr const char* kCompressions[] = {"none", "fp16", "bf16"};
  log(LogLevel::debug,
      fmt::format("{}: {} parameters, gradients are {}s, {} pass(es) per step, compression {}, {} "
                  "virtual workers, broadcast {}",
                  title(), parameters_, meaning_ == GradientMeaning::mean ? "mean" : "sum", passes_,
                  kCompressions[static_cast<int>(options_.compression)], options_.virtual_workers,
                  options_.broadcast_parameters ? "yes" : "no"));
}

void GradientReducer::Impl::ready(std::size_t index, SourceLocation where) {
  const std::lock_guard lock(mutex_);
  if (index >= parameters_) refuse(options_, fmt::format("there is no parameter {}", index));
  if (failed_pass_ || refused_) give_up(where);
  if (synchronized_) forget_passes();  // the program has skipped step(), on all ranks alike
  if (holding_back_) {
    used_here_[index] = true;
    held_back_[index] = true;
    return;
  }
  const int expected = options_.virtual_workers > 0 ? passes_done_ + 1 : passes_;
  if (announcements_[index] == expected) announced_again(index, where);
  used_here_[index] = true;
  announced_ = true;
  take(index, runtime::Runtime::Wake::yes, where);
}

/// Either the previous pass has failed and the program has begun the next one, or the program
/// computes several passes per step without saying so. In the first case it may go on: averaging
/// what has been averaged already gives the same again. In the second case the next pass writes to
/// gradients in flight.
void GradientReducer::Impl::announced_again(std::size_t index, SourceLocation where) {
  const bool whole = std::all_of(announcements_.begin(), announcements_.end(),
                                 [](int announcements) { return announcements > 0; });
  if (!whole && meaning_ == GradientMeaning::mean && options_.virtual_workers == 0) {
    log(LogLevel::warning,
        fmt::format("{}: the gradient of '{}' comes again before step(), though others have not "
                    "come ({}): the backward pass before is given up; call abandon_step() when one "
                    "fails",
                    title(), slots_[index].name, to_string(where)));
    return give_up(where);
  }
  refused_ = true;
  refuse(options_,
         fmt::format("the gradient of '{}' was announced twice in one step ({}): put all backward "
                     "passes of a step but the last inside no_sync(), or call synchronize() after "
                     "each; call abandon_step() when one fails",
                     slots_[index].name, to_string(where)));
}

/// One more pass has computed the gradient.
void GradientReducer::Impl::take(std::size_t index, runtime::Runtime::Wake wake,
                                 SourceLocation where) {
  const bool complete = ++announcements_[index] == passes_;
  if (!sums_.empty()) sums_[index].add(slots_[index].gradient);
  if (!complete) return;
  if (!together_) return submit(index, wake, where);
  const bool all = std::all_of(announcements_.begin(), announcements_.end(),
                               [this](int announcements) { return announcements == passes_; });
  for (std::size_t i = parameters_; all && i-- > 0;) submit(i, wake, where);
}

/// A gradient that no pass has computed on this rank counts as zeros, unless it exists all the
/// same.
void GradientReducer::Impl::prepare_missing(std::size_t index) {
  if (!announced_ || announcements_[index] > 0 || held_back_[index]) return;
  if (hooks_.missing != nullptr && hooks_.missing(index)) {
    used_here_[index] = true;
    return;
  }
  const TensorView& gradient = slots_[index].gradient;
  if (gradient.bytes() == 0) return;
  if (gradient.device() == Device::host) {
    std::memset(gradient.data(), 0, gradient.bytes());
  } else {
    throw_if_error(device_->clear(gradient.stream(), gradient.data(), gradient.bytes()));
  }
}

void GradientReducer::Impl::begin_workers() {
  const std::lock_guard lock(mutex_);
  if (failed_pass_) give_up({});
  if (in_flight()) {
    refuse(options_, "virtual_workers() again before step(), while gradients are on their way");
  }
  forget_passes();
}

void GradientReducer::Impl::end_worker() {
  const std::lock_guard lock(mutex_);
  for (std::size_t i = parameters_; i-- > 0;) {
    if (announcements_[i] > passes_done_) continue;
    prepare_missing(i);
    take(i, runtime::Runtime::Wake::no, {});
  }
  ++passes_done_;
}

/// The backward pass has ended. Submits the gradients that it has not announced, so that a program
/// that waits for several optimizers does not wait for one that lacks some.
bool GradientReducer::Impl::submit_pass(SourceLocation where) {
  const std::lock_guard lock(mutex_);
  const bool last_pass =
      std::find(announcements_.begin(), announcements_.end(), passes_) != announcements_.end();
  if (synchronized_ || holding_back_ || failed_pass_ || !last_pass || !sums_.empty()) {
    return false;
  }
  submit_rest(false, where);
  return true;
}

/// A program that announces its gradients thereby says when a new step begins after a skipped one.
/// For other programs, only the contents of the gradients tell.
bool GradientReducer::Impl::tells() const {
  return announced_ || !sums_.empty() || !has_agreement();
}

void GradientReducer::Impl::remember_gradients() {
  if (!tells()) hash_ = hash_of_gradients();
}

void GradientReducer::Impl::synchronize(bool for_step, SourceLocation where) {
  const std::lock_guard lock(mutex_);
  if (failed_pass_) give_up(where);
  if (synchronized_ && (tells() || (for_step && hash_of_gradients() == hash_))) return;
  if (holding_back_) refuse(options_, "gradients cannot be used inside no_sync()");
  if (!sums_.empty() && passes_done_ != passes_) {
    refuse(options_, fmt::format("the gradients of {} of {} virtual workers were computed; compute "
                                 "them in virtual_workers()",
                                 passes_done_, passes_));
  }
  if (synchronized_) {
    reduce_again(where);
  } else {
    complete(false, where);
  }
  synchronized_ = true;
  if (!for_step) remember_gradients();
}

/// The gradients have been reduced in this step already. Either the program has skipped the step
/// and these belong to the next one, or it has changed them since, in the same way on all ranks.
/// For a mean, reducing is right in both cases. A sum must not be summed again; it is recognized by
/// being equal on all ranks.
void GradientReducer::Impl::reduce_again(SourceLocation where) {
  const bool sums = meaning_ == GradientMeaning::sum;
  const auto before = sums ? copies() : std::vector<std::vector<std::byte>>();
  forget_passes();
  again_ = true;
  try {
    complete(false, where);
  } catch (...) {
    again_ = false;
    throw;
  }
  again_ = false;
  if (sums && agreement_->hear(pipeline_->sum_factor()).contents_equal) restore(before);
}

std::uint64_t GradientReducer::Impl::hash_of_gradients() const {
  std::uint64_t hash = 0;
  for (std::size_t i = 0; i < parameters_; ++i) {
    const TensorView& gradient = slots_[i].gradient;
    hash = XXH3_64bits_withSeed(gradient.data(), gradient.bytes(), hash);
  }
  return hash;
}

std::vector<std::vector<std::byte>> GradientReducer::Impl::copies() const {
  std::vector<std::vector<std::byte>> copies;
  for (std::size_t i = 0; i < parameters_; ++i) {
    const TensorView& gradient = slots_[i].gradient;
    const auto* const bytes = static_cast<const std::byte*>(gradient.data());
    const bool on_host = gradient.device() == Device::host && gradient.bytes() > 0;
    copies.emplace_back(bytes, on_host ? bytes + gradient.bytes() : bytes);
  }
  return copies;
}

void GradientReducer::Impl::restore(const std::vector<std::vector<std::byte>>& copies) {
  for (std::size_t i = 0; i < parameters_; ++i) {
    if (copies[i].empty()) continue;
    std::memcpy(slots_[i].gradient.data(), copies[i].data(), copies[i].size());
  }
}

void GradientReducer::Impl::abandon_step(SourceLocation where) {
  const std::lock_guard lock(mutex_);
  failed_pass_ = false;
  if (!synchronized_) complete(true, where);
  forget_passes();
}

/// The program sets all gradients to zero. If a step has begun, that gives it up.
void GradientReducer::Impl::zero(SourceLocation where) {
  const std::lock_guard lock(mutex_);
  if (!synchronized_ && (failed_pass_ || begun())) complete(true, where);
  failed_pass_ = false;
  forget_passes();
}

bool GradientReducer::Impl::begun() const {
  return std::any_of(announcements_.begin(), announcements_.end(), [](int n) { return n > 0; });
}

bool GradientReducer::Impl::in_flight() const {
  return std::find(submitted_.begin(), submitted_.end(), true) != submitted_.end();
}

void GradientReducer::Impl::pass_failed() {
  const std::lock_guard lock(mutex_);
  note_failed_pass();
}

void GradientReducer::Impl::note_failed_pass() { failed_pass_ = !synchronized_ && begun(); }

/// Completes a step whose result is not used. Keeps what the program has put into its gradients
/// since.
void GradientReducer::Impl::give_up(SourceLocation where) {
  const auto kept = copies();
  complete(true, where);
  restore(kept);
  failed_pass_ = false;
  forget_passes();
}

/// When this returns, every rank has submitted every slot. It throws only after that.
void GradientReducer::Impl::complete(bool abandons, SourceLocation where) {
  submit_rest(abandons, where);
  const Status first_error = pipeline_->wait_for_all();
  std::fill(submitted_.begin(), submitted_.end(), false);
  ++periods_;
  failed_pass_ = false;
  if (!first_error.ok()) {
    forget_passes();  // the step is given up; the next call begins a new one
    throw Error(first_error);
  }
  if (!has_agreement()) return;
  const StepHeard heard = agreement_->hear(pipeline_->sum_factor());
  contributors_ = heard.ranks;
  all_abandon_ = heard.abandoning > 0;
  judge(heard, abandons, where);
  if (options_.average_over_contributors) divide_by_contributors(heard.ranks);
}

/// In backward order, in which gradients usually become ready.
void GradientReducer::Impl::submit_rest(bool abandons, SourceLocation where) {
  for (std::size_t i = parameters_; i-- > 0;) {
    if (submitted_[i]) continue;
    if (!joined_) prepare_missing(i);
    submit(i, runtime::Runtime::Wake::no, where);
  }
  if (!has_agreement() || submitted_[parameters_]) return;
  if (joined_) {
    agreement_->say_nothing();
    return submit(parameters_, runtime::Runtime::Wake::no, where);
  }
  notice_joins();
  StepSaid said{rank_, abandons, steps_, {}, {}};
  if (hooks_.scalars != nullptr && periods_ % kPeriodsPerComparison == 0) {
    said.scalars = hash_of(hooks_.scalars());
  }
  if (hooks_.point != nullptr) said.contents = hooks_.point();
  if (again_) said.contents = folded(hash_of_gradients());
  agreement_->say(said, used_here_);
  submit(parameters_, runtime::Runtime::Wake::no, where);
}

/// When all ranks have joined, they may have made different numbers of steps. From then on they
/// count alike.
void GradientReducer::Impl::notice_joins() {
  const auto runtime = runtime_.lock();
  if (runtime == nullptr || runtime->joins_done() == all_joins_) return;
  all_joins_ = runtime->joins_done();
  const std::uint64_t joins = runtime->joins_done(options_.process_set.id);
  if (joins == std::exchange(joins_, joins)) return;
  steps_ = 0;
  periods_ = 0;
}

void GradientReducer::Impl::submit(std::size_t index, runtime::Runtime::Wake wake,
                                   SourceLocation where) {
  pipeline_->submit(index, wake, where);
  submitted_[index] = true;
}

/// Rare: the transport has divided by the size of the set, but some rank has joined.
void GradientReducer::Impl::divide_by_contributors(int ranks) {
  if (ranks == set_size_ || ranks == 0 || meaning_ == GradientMeaning::sum) return;
  for (const Slot& slot : pipeline_->stepped()) {
    scale(slot.gradient, static_cast<double>(set_size_) / ranks);
  }
}

std::vector<bool> GradientReducer::Impl::used() const {
  std::vector<bool> used(parameters_, true);
  for (std::size_t i = 0; exchanges_use() && has_agreement() && i < parameters_; ++i) {
    used[i] = agreement_->used(i);
  }
  return used;
}

void GradientReducer::Impl::begin_step(SourceLocation where) {
  const std::lock_guard lock(mutex_);
  pipeline_->finish_step(where);
  count_unannounced();
  ++steps_;
  forget_passes();
}

void GradientReducer::Impl::drop_step() {
  const std::lock_guard lock(mutex_);
  note_failed_pass();
  if (!failed_pass_) forget_passes();
}

void GradientReducer::Impl::forget_passes() {
  refused_ = false;
  synchronized_ = false;
  announcements_.assign(parameters_, 0);
  held_back_.assign(parameters_, false);
  used_here_.assign(parameters_, false);
  for (TreeAccumulator& sum : sums_) sum.reset();
  passes_done_ = 0;
}

}  // namespace ringleader

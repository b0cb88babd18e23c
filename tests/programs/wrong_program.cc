// SPDX-License-Identifier: Apache-2.0
//
// Programs that are wrong, one per word on the command line; wrong_programs_test.py says what must
// happen to them. Rank 1 is the culprit wherever one is needed.
//
//   mpirun -np 3 wrong_program shape          # catches the error and goes on
//   mpirun -np 3 wrong_program shape uncaught
//
// Output: "rank R: CODE after S s: MESSAGE" for the error and "rank R: went on" for the operation
// after it.
#include <ringleader/ringleader.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <map>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

using namespace ringleader;

namespace {

std::vector<float> a(4, 1.f);
std::vector<float> b(8, 1.f);
std::vector<double> d(4, 1.0);

bool culprit() { return rank() == 1; }

TensorView view(std::vector<float>& values, Shape shape) {
  return TensorView(values.data(), std::move(shape), DType::f32);
}

void reduce(const char* name, const TensorView& tensor, ReduceOp op = ReduceOp::sum,
            const ReduceOptions& options = {}) {
  allreduce(name, tensor, op, options);
}

/// An optimizer over the given parameters; `steps` of them.
void train(const std::vector<std::pair<std::string, int>>& parameters, int steps) {
  std::vector<std::vector<float>> memory;
  std::vector<Slot> slots;
  for (const auto& [name, count] : parameters) {
    memory.emplace_back(static_cast<std::size_t>(count), 1.f);
    memory.emplace_back(static_cast<std::size_t>(count), 1.f);
  }
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    slots.push_back(
        {parameters[i].first, TensorView(memory[2 * i]), TensorView(memory[2 * i + 1])});
  }
  DistributedOptimizer optimizer(
      std::move(slots), [] {}, GradientMeaning::mean);
  for (int step = 0; step < steps; ++step) optimizer.step();
}

/// What a program does that has lost its way.
[[noreturn]] void spin() {
  for (volatile bool forever = true; forever;) {
  }
  std::abort();
}

void disagree_about_group() {
  std::vector<TensorView> group = {TensorView(a), TensorView(b)};
  if (culprit()) group.pop_back();
  grouped_allreduce("group", group, ReduceOp::sum);
}

/// Rank 1 can know by itself that its splits are wrong; the others wait for it.
void disagree_about_splits() {
  std::vector<float> rows(static_cast<std::size_t>(size()), 1.f);
  std::vector<std::int64_t> splits(rows.size(), 1);
  if (culprit()) splits[0] = 2;
  (void)alltoall("shuffle", TensorView(rows), splits);
}

void two_steps_behind() {
  for (int step = culprit() ? 2 : 0; step < 5; ++step) {
    reduce(("step" + std::to_string(step)).c_str(), TensorView(a));
  }
}

void skip_one_of_a_plan() { train({{"w", 4}}, culprit() ? 4 : 5), barrier(); }

void misspell() {
  reduce("layer0.weight", TensorView(a));
  reduce(culprit() ? "layer1.weigth" : "layer1.weight", TensorView(a));
}

void use_a_callback() {
  // Submitting from a callback is allowed, and so is waiting there.
  const Handle first = allreduce_async("first", TensorView(a), ReduceOp::sum);
  std::atomic<bool> done{false};
  first.then([&](const Status& status) {
    throw_if_error(status);
    reduce("second", TensorView(b));
    done = true;
  });
  while (!done) std::this_thread::yield();
}

void reduce_while_joined(ReduceOp op, float expected) {
  std::vector<float> six(3, op == ReduceOp::product ? 2.f : 6.f);
  if (!culprit()) reduce("extreme", TensorView(six), op);
  join();
  if (!culprit() && six[0] != expected) throw std::runtime_error("silently wrong");
}

using Cases = std::map<std::string, std::function<void()>>;

/// Ranks disagree about an operation or a plan.
const Cases disagreements = {
    {"shape",
     [] {
       reduce("t", culprit() ? view(a, {2, 2}) : view(a, {4, 1}));
     }},
    {"count", [] { reduce("t", culprit() ? TensorView(b) : TensorView(a)); }},
    {"equal_bytes",
     [] {
       if (culprit()) return allreduce("t", TensorView(d), ReduceOp::sum);
       reduce("t", TensorView(b));  // 8 f32 are as many bytes as 4 f64
     }},
    {"dtype",
     [] {
       if (culprit()) return allreduce("t", TensorView(d), ReduceOp::sum);
       reduce("t", TensorView(a));
     }},
    {"operation",
     [] {
       if (culprit()) return broadcast("t", TensorView(a), 0);
       reduce("t", TensorView(a));
     }},
    {"reduce_op", [] { reduce("t", TensorView(a), culprit() ? ReduceOp::max : ReduceOp::sum); }},
    {"root", [] { broadcast("t", TensorView(a), culprit() ? 1 : 0); }},
    {"scale",
     [] {
       ReduceOptions options;
       options.prescale = culprit() ? 0.5 : 0.25;
       reduce("t", TensorView(a), ReduceOp::sum, options);
     }},
    {"group", disagree_about_group},
    {"splits", disagree_about_splits},
    {"memory",
     [] {
       reduce("t", TensorView(a.data(), {4}, DType::f32, culprit() ? Device::cuda : Device::host));
     }},
    {"gather_device",
     [] { (void)allgather("t", TensorView(a.data(), {4}, DType::f32, Device::cuda)); }},
    {"all_device", [] { reduce("t", TensorView(a.data(), {4}, DType::f32, Device::cuda)); }},
    {"plan_name",
     [] {
       train({{"w", 4}, {culprit() ? "bais" : "bias", 2}}, 1);
     }},
    {"plan_order",
     [] {
       culprit() ? train({{"bias", 2}, {"w", 4}}, 1) : train({{"w", 4}, {"bias", 2}}, 1);
     }},
    {"plan_shape",
     [] {
       train({{"w", culprit() ? 5 : 4}, {"bias", 2}}, 1);
     }},
    {"plan_count",
     [] {
       culprit() ? train({{"w", 4}}, 1) : train({{"w", 4}, {"bias", 2}}, 1);
     }},
};

/// Ranks wait for each other, or for one that does not come.
const Cases others = {
    {"name", misspell},
    {"skip",
     [] {
       if (!culprit()) reduce("skipped", TensorView(a));
       reduce("next", TensorView(a));
     }},
    {"skip_in_plan", skip_one_of_a_plan},
    {"behind", two_steps_behind},
    {"endless",
     [] {
       if (culprit()) spin();
       train({{"w", 4}}, 0);
     }},
    {"stop",
     [] {
       if (culprit()) std::raise(SIGSTOP);
       reduce("t", TensorView(a));
     }},
    {"stop_root",
     [] {
       if (rank() == 0) std::raise(SIGSTOP);
       reduce("t", TensorView(a));
     }},
    {"kill",
     [] {
       if (culprit()) std::raise(SIGKILL);
       reduce("t", TensorView(a));
     }},
    {"throw",
     [] {
       if (culprit()) throw std::runtime_error("the culprit throws");
       reduce("t", TensorView(a));
     }},
    {"return",
     [] {
       if (culprit()) std::exit(0);
       reduce("t", TensorView(a));
     }},
    {"shutdown",
     [] {
       if (culprit()) return shutdown();
       reduce("t", TensorView(a));
     }},
    {"callback", use_a_callback},
    {"two_kinds",
     [] {
       const Handle first = allreduce_async("t", TensorView(a), ReduceOp::sum);
       const Handle second = broadcast_async("t", TensorView(b), 0);
       const Status status = second.status();
       first.wait();
       barrier();
       throw_if_error(status.ok() ? Status(Code::duplicate_name, "'t' had completed") : status);
     }},
    {"min_joined", [] { reduce_while_joined(ReduceOp::min, 6.f); }},
    {"product_joined",
     [] {
       reduce_while_joined(ReduceOp::product, size() == 2 ? 2.f : size() == 3 ? 4.f : 8.f);
     }},
    {"nothing", [] { reduce("t", TensorView(a)); }},
};

/// The next correct operation, which must work.
void go_on() {
  if (!is_initialized()) return;
  std::vector<float> ones(3, 1.f);
  allreduce("afterwards", TensorView(ones), ReduceOp::sum);
  train({{"w", 4}, {"bias", 2}}, 3);
  if (ones[0] == static_cast<float>(size())) std::printf("rank %d: went on\n", rank());
}

}  // namespace

int main(int argc, char** argv) {
  const std::string which = argc > 1 ? argv[1] : "";
  const Cases& cases = disagreements.count(which) != 0 ? disagreements : others;
  if (cases.count(which) == 0) return 2;
  const bool uncaught = argc > 2 && std::string(argv[2]) == "uncaught";
  const Session session;
  const int own_rank = rank();
  barrier();
  const auto begin = std::chrono::steady_clock::now();
  try {
    cases.at(which)();
  } catch (const Error& error) {
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
    std::string text = error.what();  // on one line, so that the ranks' outputs do not mix
    std::replace(text.begin(), text.end(), '\n', ' ');
    std::printf("rank %d: %s after %.3f s: %s\n", own_rank, name_of(error.code()), seconds.count(),
                text.c_str());
    std::fflush(stdout);
    if (uncaught) throw;
    if (error.code() == Code::shutdown || error.code() == Code::rank_lost) return 1;
  }
  try {
    go_on();
  } catch (const Error& error) {
    // The others were still in the wrong operation, which has now ended on them too.
    if (error.code() != Code::stalled) throw;
    go_on();
  }
  return 0;
}

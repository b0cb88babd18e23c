// SPDX-License-Identifier: Apache-2.0
//
// Random programs against a reference that each rank computes by itself: all verbs, types,
// reductions, process sets, groups, threads, wrapped optimizers with their options, and in half of
// the programs one mistake of one rank, after which the program must go on.
//
//   mpirun -np 3 random_program 17 20        # the programs of seeds 17 to 36
//
// Every rank draws the same program; in which order a rank submits what belongs together is its
// own. Values are small integers, so that sums are exact in every type and any order.
#include "../sim/random.h"
#include "../support/watchdog.h"

#include <ringleader/ringleader.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <memory>
#include <numeric>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

using namespace ringleader;

namespace {

[[noreturn]] void fail(std::uint64_t seed, const std::string& what) {
  std::printf("seed %llu, %d ranks, rank %d: %s\n", static_cast<unsigned long long>(seed), size(),
              rank(), what.c_str());
  std::fflush(stdout);
  std::_Exit(1);
}

double to_number(const void* data, std::size_t i, DType dtype) {
  return with_type(dtype, [&](auto element) {
    using T = decltype(element);
    const T value = static_cast<const T*>(data)[i];
    if constexpr (std::is_arithmetic_v<T>) {
      return static_cast<double>(value);
    } else {
      return static_cast<double>(static_cast<float>(value));
    }
  });
}

void put_number(void* data, std::size_t i, DType dtype, double value) {
  with_type(dtype, [&](auto element) {
    using T = decltype(element);
    if constexpr (std::is_arithmetic_v<T>) {
      static_cast<T*>(data)[i] = static_cast<T>(value);
    } else {
      static_cast<T*>(data)[i] = T(static_cast<float>(value));
    }
  });
}

bool close(double a, double b, DType dtype) {
  const double error = dtype == DType::bf16 ? 0.01 : dtype == DType::f16 ? 0.002 : 1e-5;
  return std::abs(a - b) <= error * std::max(1.0, std::abs(b));
}

/// What a rank has in element i of an operation; 1 or 2 where products are taken.
double value_of(int world_rank, int operation, std::size_t i, bool product) {
  const int value = (world_rank * 3 + operation + static_cast<int>(i % 11)) % 5;
  return product ? 1 + value % 2 : 1 + value;
}

/// Memory of any type, in the arena or not.
struct Tensor {
  Tensor(Shape its_shape, DType its_dtype, bool shared)
      : shape(std::move(its_shape)), dtype(its_dtype) {
    const std::size_t bytes = std::max<std::size_t>(1, view_bytes());
    if (shared) {
      memory = std::shared_ptr<void>(ringleader::allocate(bytes), ringleader::free);
    } else {
      memory = std::shared_ptr<void>(std::malloc(bytes), std::free);
    }
  }
  std::size_t count() const { return static_cast<std::size_t>(count_of(shape)); }
  std::size_t view_bytes() const { return count() * size_of(dtype); }
  TensorView view() const { return {memory.get(), shape, dtype}; }

  Shape shape;
  DType dtype;
  std::shared_ptr<void> memory;
};

class Program {
 public:
  explicit Program(std::uint64_t seed)
      : seed_(seed), common_(seed), own_(seed * 1000 + static_cast<std::uint64_t>(rank())) {
    sets_.push_back(ProcessSet());
    for (int i = common_.between(0, 2); i > 0; --i) add_set();
  }
  ~Program() {
    for (std::size_t i = 1; i < sets_.size(); ++i) remove_process_set(sets_[i]);
  }
  Program(const Program&) = delete;
  Program& operator=(const Program&) = delete;

  void run() {
    const int blocks = common_.between(2, 6);
    const int mistake_at = common_.chance(50) ? common_.between(0, blocks - 1) : -1;
    for (int block = 0; block < blocks; ++block) {
      if (block == mistake_at) make_a_mistake();
      switch (common_.between(0, 4)) {
        case 0:
        case 1:
          operations();
          break;
        case 2:
          in_threads();
          break;
        case 3:
          train();
          break;
        default:
          train_unevenly();
      }
    }
    barrier();
  }

 private:
  void add_set() {
    std::vector<int> ranks;
    for (int r = 0; r < size(); ++r) {
      if (common_.chance(60)) ranks.push_back(r);
    }
    if (ranks.empty()) ranks.push_back(common_.between(0, size() - 1));
    sets_.push_back(add_process_set(ranks));
  }

  void check(bool right, const std::string& what) const {
    if (!right) fail(seed_, what);
  }

  /// An operation that is submitted at once; what it returns waits for it and checks it.
  using Submit = std::function<std::function<void()>()>;

  Submit any_operation(const ProcessSet& set) {
    const int number = next_++;
    const std::string name = "operation " + std::to_string(number % 40 + (number / 40) * 40);
    const std::vector<int> members = set.ranks();
    const auto dtype = static_cast<DType>(common_.between(0, kDTypeCount - 1));
    const auto op = static_cast<ReduceOp>(common_.between(0, kReduceOpCount - 1));
    const bool product = op == ReduceOp::product;
    const std::int64_t rows = common_.between(0, common_.chance(10) ? 9000 : 40);
    const std::int64_t columns = common_.between(1, 3);
    const bool shared = common_.chance(50);
    ReduceOptions reduce;
    reduce.process_set = set;
    const auto fill = [=](const Tensor& tensor, int of_rank) {
      for (std::size_t i = 0; i < tensor.count(); ++i) {
        put_number(tensor.memory.get(), i, dtype, value_of(of_rank, number, i, product));
      }
    };
    const auto reduced = [=](std::size_t i) {
      double total = value_of(members[0], number, i, product);
      for (std::size_t m = 1; m < members.size(); ++m) {
        const double next = value_of(members[m], number, i, product);
        switch (op) {
          case ReduceOp::sum:
          case ReduceOp::average:
            total += next;
            break;
          case ReduceOp::min:
            total = std::min(total, next);
            break;
          case ReduceOp::max:
            total = std::max(total, next);
            break;
          case ReduceOp::product:
            total *= next;
        }
      }
      if (op == ReduceOp::average) total /= static_cast<double>(members.size());
      if (op == ReduceOp::average && !is_floating_point(dtype)) total = std::trunc(total);
      return total;
    };
    const auto expect = [this, name, dtype](double found, double wanted, std::size_t i) {
      check(close(found, wanted, dtype), name + ", element " + std::to_string(i) + " of type " +
                                             name_of(dtype) + ": " + std::to_string(found) +
                                             ", not " + std::to_string(wanted));
    };
    const int verb = common_.between(0, 5);
    const int root = members[common_.below(members.size())];
    std::vector<std::int64_t> splits;  // of member m to member n: (m + n) % 3 rows
    const auto rows_to = [](std::size_t m, std::size_t n) {
      return static_cast<std::int64_t>((m + n) % 3);
    };
    const auto me = static_cast<std::size_t>(std::find(members.begin(), members.end(), rank()) -
                                             members.begin());
    switch (verb) {
      case 0:
        return [=, this]() -> std::function<void()> {
          const Tensor tensor({rows, columns}, dtype, shared);
          fill(tensor, rank());
          const Handle handle = allreduce_async(name, tensor.view(), op, reduce);
          return [=, this] {
            handle.wait();
            for (std::size_t i = 0; i < tensor.count(); ++i) {
              expect(to_number(tensor.memory.get(), i, dtype), reduced(i), i);
            }
          };
        };
      case 1:
        return [=, this]() -> std::function<void()> {
          const Tensor first({rows}, dtype, shared);
          const Tensor second({columns}, dtype, !shared);
          fill(first, rank());
          fill(second, rank());
          const Handle handle =
              grouped_allreduce_async(name, {first.view(), second.view()}, op, reduce);
          return [=, this] {
            handle.wait();
            for (const Tensor& tensor : {first, second}) {
              for (std::size_t i = 0; i < tensor.count(); ++i) {
                expect(to_number(tensor.memory.get(), i, dtype), reduced(i), i);
              }
            }
          };
        };
      case 2:
        return [=, this]() -> std::function<void()> {
          const Tensor tensor({rows % 7 + rank(), columns}, dtype, shared);
          fill(tensor, rank());
          const Handle handle = allgather_async(name, tensor.view(), set);
          return [=, this] {
            const TensorView all = handle.output().view();
            std::size_t at = 0;
            for (const int member : members) {
              const auto count = static_cast<std::size_t>((rows % 7 + member) * columns);
              for (std::size_t i = 0; i < count; ++i, ++at) {
                expect(to_number(all.data(), at, dtype), value_of(member, number, i, product), at);
              }
            }
            check(static_cast<std::size_t>(all.count()) == at, name + ": the number of rows");
            (void)tensor;
          };
        };
      case 3:
        return [=, this]() -> std::function<void()> {
          const Tensor tensor({rows, columns}, dtype, shared);
          fill(tensor, rank());
          const Handle handle = broadcast_async(name, tensor.view(), root, set);
          return [=, this] {
            handle.wait();
            for (std::size_t i = 0; i < tensor.count(); ++i) {
              expect(to_number(tensor.memory.get(), i, dtype), value_of(root, number, i, product),
                     i);
            }
          };
        };
      case 4:
        return [=, this]() -> std::function<void()> {
          const Tensor tensor({rows, columns}, dtype, shared);
          fill(tensor, rank());
          const Handle handle = reduce_scatter_async(name, tensor.view(), op, reduce);
          return [=, this] {
            const TensorView own = handle.output().view();
            const auto parts = static_cast<std::int64_t>(members.size());
            const auto index = static_cast<std::int64_t>(me);
            const std::int64_t first = index * (rows / parts) + std::min(index, rows % parts);
            for (std::size_t i = 0; i < static_cast<std::size_t>(own.count()); ++i) {
              expect(to_number(own.data(), i, dtype),
                     reduced(static_cast<std::size_t>(first * columns) + i), i);
            }
            (void)tensor;
          };
        };
      default:
        return [=, this]() -> std::function<void()> {
          std::vector<std::int64_t> own_splits;
          for (std::size_t n = 0; n < members.size(); ++n) own_splits.push_back(rows_to(me, n));
          const std::int64_t total =
              std::accumulate(own_splits.begin(), own_splits.end(), std::int64_t{0});
          const Tensor tensor({total, columns}, dtype, shared);
          fill(tensor, rank());
          const Handle handle = alltoall_async(name, tensor.view(), own_splits, set);
          return [=, this] {
            const TensorView got = handle.output().view();
            std::size_t at = 0;
            for (std::size_t m = 0; m < members.size(); ++m) {
              std::int64_t before = 0;
              for (std::size_t n = 0; n < me; ++n) before += rows_to(m, n);
              const auto count = static_cast<std::size_t>(rows_to(m, me) * columns);
              for (std::size_t i = 0; i < count; ++i, ++at) {
                expect(to_number(got.data(), at, dtype),
                       value_of(members[m], number, static_cast<std::size_t>(before * columns) + i,
                                product),
                       at);
              }
            }
            (void)tensor;
          };
        };
    }
  }

  /// Several at once, on several sets, submitted and waited for in this rank's order.
  void operations() {
    std::vector<Submit> submits;
    for (int i = common_.between(1, 7); i > 0; --i) {
      const ProcessSet set = sets_[common_.below(sets_.size())];
      Submit submit = any_operation(set);
      if (set.includes(rank())) submits.push_back(std::move(submit));
    }
    own_.shuffle(submits);
    std::vector<std::function<void()>> checks;
    for (const Submit& submit : submits) checks.push_back(submit());
    own_.shuffle(checks);
    for (const auto& each : checks) each();
  }

  void in_threads() {
    const int count = common_.between(2, 4);
    const int times = common_.between(1, 5);
    std::vector<std::thread> threads;
    for (int t = 0; t < count; ++t) {
      threads.emplace_back([this, t, times] {
        for (int i = 0; i < times; ++i) {
          std::vector<double> values(static_cast<std::size_t>(10 * t + 1), rank() + i);
          allreduce("thread " + std::to_string(t), values, ReduceOp::sum);
          const double wanted = size() * i + size() * (size() - 1) / 2.0;
          check(values.back() == wanted, "a thread's sum");
          if (i % 2 == 1) barrier("of thread " + std::to_string(t));
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
  }

  struct Model {
    std::vector<std::vector<float>> weights;
    std::vector<std::vector<float>> gradients;
  };

  Model any_model() {
    Model model;
    for (int i = common_.between(1, 5); i > 0; --i) {
      const auto count =
          static_cast<std::size_t>(common_.between(0, common_.chance(20) ? 40'000 : 300));
      model.weights.emplace_back(count, 0.F);
      model.gradients.emplace_back(count, 0.F);
    }
    return model;
  }

  static std::vector<Slot> slots_of(Model& model) {
    std::vector<Slot> slots;
    for (std::size_t t = 0; t < model.weights.size(); ++t) {
      slots.push_back({"w" + std::to_string(t), model.weights[t], model.gradients[t]});
    }
    return slots;
  }

  static double gradient_of(int of_rank, int step, std::size_t t) {
    return (of_rank + 2 * step + static_cast<int>(t)) % 4 + 1;
  }

  void train() {
    Model model = any_model();
    OptimizerOptions options;
    options.name = "train";
    const auto meaning = common_.chance(50) ? GradientMeaning::mean : GradientMeaning::sum;
    const bool sharded = common_.chance(25);
    const bool power = (size() & (size() - 1)) == 0;
    const bool virtual_workers = !sharded && power && common_.chance(20);
    if (sharded) options.sharding = Sharding::optimizer_state;
    if (virtual_workers) options.virtual_workers = size() * 2;
    if (!sharded && !virtual_workers) {
      options.compression = static_cast<Compression>(common_.between(0, 2));
      options.passes_per_step = common_.between(1, 2);
    }
    const bool announces = common_.chance(60);
    const bool holds_back = !sharded && !virtual_workers && common_.chance(30);
    DistributedOptimizer optimizer(
        slots_of(model),
        [](const std::vector<Slot>& slots) {
          for (const Slot& slot : slots) {
            auto* const weights = static_cast<float*>(slot.parameter.data());
            for (std::int64_t i = 0; i < slot.parameter.count(); ++i) {
              weights[i] -= static_cast<const float*>(slot.gradient.data())[i];
            }
          }
        },
        meaning, options);
    std::vector<double> wanted(model.weights.size(), 0.0);
    for (int step = common_.between(1, 6); step > 0; --step) {
      const bool abandons = !sharded && !virtual_workers && common_.chance(15);
      const int passes = options.passes_per_step;
      const int workers = virtual_workers ? 2 : 1;
      const auto add = [&](int worker) {
        for (std::size_t t = 0; t < model.gradients.size(); ++t) {
          for (float& g : model.gradients[t]) {
            g += static_cast<float>(gradient_of(rank(), step, t) + worker);
          }
        }
      };
      const auto announce = [&] {
        std::vector<std::size_t> order(model.gradients.size());
        std::iota(order.begin(), order.end(), std::size_t{0});
        own_.shuffle(order);
        for (const std::size_t t : order) optimizer.ready(t);
      };
      for (auto& gradient : model.gradients) std::fill(gradient.begin(), gradient.end(), 0.F);
      int added = 0;
      if (virtual_workers) {
        for ([[maybe_unused]] const int worker : optimizer.virtual_workers()) {
          add(added++);
          if (announces) announce();
        }
      } else {
        if (holds_back) {
          const NoSyncGuard guard = optimizer.no_sync();
          add(0);
          ++added;
          if (announces) announce();
        }
        for (int pass = 0; pass < passes; ++pass) {
          add(0);
          ++added;
          if (announces) announce();
        }
      }
      if (abandons) {
        optimizer.abandon_step();
        continue;
      }
      if (common_.chance(20)) optimizer.synchronize();
      optimizer.step();
      const double ranks = meaning == GradientMeaning::mean
                               ? static_cast<double>(size() * passes * (virtual_workers ? 2 : 1))
                               : 1.0;
      for (std::size_t t = 0; t < wanted.size(); ++t) {
        double total = 0;
        for (int r = 0; r < size(); ++r) {
          total += added * gradient_of(r, step, t) + (virtual_workers ? workers - 1 : 0);
        }
        wanted[t] -= total / ranks;
      }
    }
    for (std::size_t t = 0; t < wanted.size(); ++t) {
      for (const float weight : model.weights[t]) {
        check(std::abs(weight - wanted[t]) <= 0.02 * std::max(1.0, std::abs(wanted[t])),
              "training: weight " + std::to_string(t) + " is " + std::to_string(weight) + ", not " +
                  std::to_string(wanted[t]));
      }
    }
    check(optimizer.parameters_identical(), "the ranks' parameters differ");
  }

  /// Ranks have different numbers of steps, and go on together.
  void train_unevenly() {
    Model model = any_model();
    OptimizerOptions options;
    options.name = "uneven";
    options.stateless = true;
    options.average_over_contributors = common_.chance(50);
    DistributedOptimizer optimizer(
        slots_of(model),
        [&] {
          for (std::size_t t = 0; t < model.weights.size(); ++t) {
            for (std::size_t i = 0; i < model.weights[t].size(); ++i) {
              model.weights[t][i] -= model.gradients[t][i];
            }
          }
        },
        GradientMeaning::mean, options);
    std::vector<int> steps;
    for (int r = 0; r < size(); ++r) steps.push_back(common_.between(0, 4));
    const int most = *std::max_element(steps.begin(), steps.end());
    double wanted = 0;
    for (int step = 0; step < most; ++step) {
      int present = 0;
      double total = 0;
      for (int r = 0; r < size(); ++r) {
        if (steps[static_cast<std::size_t>(r)] <= step) continue;
        ++present;
        total += r + 1;
      }
      wanted -= total / (options.average_over_contributors ? present : size());
    }
    {
      const auto guard = optimizer.join();
      for (int step = 0; step < steps[static_cast<std::size_t>(rank())]; ++step) {
        for (auto& gradient : model.gradients) {
          std::fill(gradient.begin(), gradient.end(), static_cast<float>(rank() + 1));
        }
        optimizer.step();
      }
    }
    for (auto& gradient : model.gradients) std::fill(gradient.begin(), gradient.end(), 2.F);
    optimizer.step();
    wanted -= 2;
    for (const auto& weights : model.weights) {
      for (const float weight : weights) {
        check(std::abs(weight - wanted) <= 1e-4 * std::max(1.0, std::abs(wanted)),
              "uneven steps: " + std::to_string(weight) + ", not " + std::to_string(wanted));
      }
    }
  }

  /// One rank is wrong: all get the same error, and nobody hangs.
  void make_a_mistake() {
    if (size() == 1) return;
    const int culprit = common_.between(0, size() - 1);
    const bool wrong = rank() == culprit;
    const int kind = common_.between(0, 5);
    std::vector<float> values(wrong && kind == 0 ? 5 : 4, 1.F);
    std::vector<double> others(4, 1.0);
    Code expected = Code::mismatch;
    Status status;
    try {
      switch (kind) {
        case 0:
          allreduce("mistake", values);
          break;
        case 1:
          allreduce("mistake", wrong ? TensorView(others) : TensorView(values));
          break;
        case 2:
          allreduce("mistake", values, wrong ? ReduceOp::max : ReduceOp::sum);
          break;
        case 3:
          broadcast("mistake", values, wrong ? culprit : (culprit + 1) % size());
          break;
        case 4:
          expected = Code::stalled;
          allreduce(wrong ? "mistaek" : "mistake", values);
          break;
        default: {
          Model model;
          model.weights.emplace_back(wrong ? 3 : 4, 0.F);
          model.gradients.emplace_back(wrong ? 3 : 4, 0.F);
          DistributedOptimizer optimizer(
              slots_of(model), [] {}, GradientMeaning::mean);
        }
      }
    } catch (const Error& error) {
      status = error.status();
    }
    check(status.code() == expected, std::string("mistake ") + std::to_string(kind) +
                                         " ended with " + name_of(status.code()) + ": " +
                                         status.message());
    for (const float value : values) check(value == 1.F, "a failed operation changed memory");
  }

  std::uint64_t seed_;
  sim::Random common_;
  sim::Random own_;
  std::vector<ProcessSet> sets_;
  int next_ = 0;
};

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  const std::uint64_t first = std::strtoull(argv[1], nullptr, 10);
  const std::uint64_t count = std::strtoull(argv[2], nullptr, 10);
  test::Watchdog watchdog(std::chrono::seconds(200));
  InitOptions options;
  options.config.blocked_grace_s = 0.3;
  const Session session(options);
  for (std::uint64_t seed = first; seed < first + count; ++seed) {
    watchdog.enter("seed " + std::to_string(seed));
    try {
      Program(seed).run();
    } catch (const std::exception& error) {
      fail(seed, error.what());
    }
  }
  return 0;
}

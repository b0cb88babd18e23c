// SPDX-License-Identifier: Apache-2.0
//
// Behaviours 72 to 83 that Horovod's own tests assert, named after them: joining, barriers and
// process sets; and W5.
#include "behaviours.h"

#include <chrono>
#include <string>
#include <thread>
#include <vector>

using namespace ringleader;
using namespace ringleader::test;
using Clock = std::chrono::steady_clock;

namespace {

double seconds_since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

ProcessSet set_of_every_second(int first) {
  std::vector<int> ranks;
  for (int i = first; i < size(); i += 2) ranks.push_back(i);
  return add_process_set(ranks);
}

}  // namespace

TEST_CASE("72: while a rank has joined the others average over all, and all learn who came last") {
  for (const char* name : {"b72 new", "b72 known", "b72 known"}) {
    std::vector<float> a(10, 1.f);
    std::vector<float> b(20, 1.f);
    if (size() > 1 && rank() == 0) {
      const int last = join();
      CHECK(last != 0);  // the first to join
      CHECK(last < size());
      continue;
    }
    const Handle first = allreduce_async(std::string(name) + " a", a);
    allreduce(std::string(name) + " b", b);
    first.wait();
    const float expected =
        size() == 1 ? 1.f : static_cast<float>(size() - 1) / static_cast<float>(size());
    CHECK(a[9] == Approx(expected));
    CHECK(b[19] == Approx(expected));
    std::this_thread::sleep_for(std::chrono::milliseconds(20));  // rank 0 is the first
    const int last = join();
    CHECK((size() == 1 || last != 0));
  }
}

TEST_CASE(
    "73, 74: allgather and broadcast while a rank has joined are errors, and join completes") {
  if (size() == 1) return;
  std::vector<float> values(4);
  if (rank() > 0) {
    CHECK(outcome_of([&] { (void)allgather("b73", values); }).code() == Code::joined);
    CHECK(outcome_of([&] { broadcast("b74", values, 1); }).code() == Code::joined);
  }
  (void)join();
  barrier();
}

TEST_CASE("W5: min, max and product with a joined rank are right") {
  if (size() == 1) return;
  std::vector<float> low(4, 6.f);
  std::vector<float> high(4, -6.f);
  std::vector<float> product(4, 2.f);
  if (rank() > 0) {
    allreduce("w5 min", low, ReduceOp::min);
    allreduce("w5 max", high, ReduceOp::max);
    allreduce("w5 product", product, ReduceOp::product);
    CHECK(low[0] == 6.f);
    CHECK(high[0] == -6.f);
    CHECK(product[0] == static_cast<float>(1 << (size() - 1)));
  }
  (void)join();
}

TEST_CASE("75, 76: a barrier holds its members for the slowest of them, and nobody else") {
  const ProcessSet even = set_of_every_second(0);
  barrier();
  const auto begin = Clock::now();
  const double nap = 0.5;
  if (rank() == 0) std::this_thread::sleep_for(std::chrono::duration<double>(nap));
  if (even.includes(rank())) {
    barrier(even);
    CHECK(seconds_since(begin) > 0.9 * nap);
  }
  barrier();
  remove_process_set(even);
}

TEST_CASE("77: a barrier among outstanding operations") {
  std::vector<std::vector<float>> tensors(20, std::vector<float>(100, 1.f));
  std::vector<Handle> handles;
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    handles.push_back(allreduce_async("b77." + std::to_string(i), tensors[i], ReduceOp::sum));
    if (i % 5 == 0) barrier();
  }
  for (const Handle& handle : handles) handle.wait();
  CHECK(tensors[19][99] == static_cast<float>(size()));
}

TEST_CASE("78, 79: every operation on two sets at once, and none on a set one is not in") {
  if (size() == 1) return;
  const ProcessSet sets[] = {set_of_every_second(0), set_of_every_second(1)};
  const ProcessSet& mine = sets[rank() % 2];
  const ProcessSet& other = sets[1 - rank() % 2];
  const auto count = static_cast<float>(mine.size());
  ReduceOptions options;
  options.process_set = mine;
  std::vector<float> values(static_cast<std::size_t>(mine.size()), 1.f);
  allreduce("b78", values, ReduceOp::sum, options);
  CHECK(values[0] == count);
  CHECK(allgather("b78", values, mine).view().count() == mine.size() * mine.size());
  broadcast("b78", values, mine.ranks()[0], mine);
  CHECK(reduce_scatter("b78", values, ReduceOp::sum, options).view().count() == 1);
  CHECK(alltoall("b78", values, {}, mine).view().count() == mine.size());
  barrier(mine);
  options.process_set = other;
  CHECK(outcome_of([&] { allreduce("b79", values, ReduceOp::sum, options); }).code() ==
        Code::invalid_argument);
  options.process_set = ProcessSet{12345};
  CHECK(outcome_of([&] { allreduce("b79", values, ReduceOp::sum, options); }).code() ==
        Code::invalid_argument);
  barrier();
  for (const ProcessSet& set : sets) remove_process_set(set);
}

TEST_CASE(
    "80: the order in which a set's ranks are given does not matter; repeated ranks are refused") {
  if (size() == 1) return;
  const ProcessSet set =
      add_process_set(rank() == 0 ? std::vector<int>{0, 1} : std::vector<int>{1, 0});
  CHECK(set.ranks() == std::vector<int>{0, 1});
  remove_process_set(set);
  CHECK(outcome_of([] { (void)add_process_set({0, 1, 1}); }).code() == Code::invalid_argument);
}

TEST_CASE("82: sets come and go: equal ids everywhere, ids are used again, the world stays") {
  const ProcessSet first = add_process_set({0});
  float id = static_cast<float>(first.id);
  allreduce("b82", TensorView(&id, {1}, DType::f32), ReduceOp::max);
  CHECK(id == static_cast<float>(first.id));
  remove_process_set(first);
  const ProcessSet second = add_process_set({0});
  CHECK(second.id == first.id);
  remove_process_set(second);
  CHECK(outcome_of([] { remove_process_set(ProcessSet{}); }).code() == Code::invalid_argument);
}

TEST_CASE("83: an optimizer limited to a set changes only its members") {
  const ProcessSet even = set_of_every_second(0);
  std::vector<float> parameter(4, static_cast<float>(rank()));
  std::vector<float> gradient(4, static_cast<float>(rank()));
  if (even.includes(rank())) {
    OptimizerOptions options;
    options.process_set = even;
    DistributedOptimizer optimizer(
        {{"w", TensorView(parameter), TensorView(gradient)}}, [] {}, GradientMeaning::mean,
        options);
    optimizer.step();
    CHECK(parameter[0] == 0.f);
    CHECK(gradient[0] == static_cast<float>(even.size() - 1));
  } else {
    CHECK(parameter[0] == static_cast<float>(rank()));
    CHECK(gradient[0] == static_cast<float>(rank()));
  }
  barrier();
  remove_process_set(even);
}

// SPDX-License-Identifier: Apache-2.0
//
// Behaviours that Horovod's own tests assert, named after them: starting and stopping, and names in
// flight; and the opposites of faults that were reproduced in it (W3 to W12).
#include "behaviours.h"

#include <ringleader/ringleader.h>

#include <atomic>
#include <string>
#include <thread>
#include <vector>

using namespace ringleader;
using namespace ringleader::test;

TEST_CASE("1, 2: the ranks are 0 to size - 1, each once; their local forms agree on a node") {
  float one_hot[8] = {};
  one_hot[rank()] = 1.f;
  allreduce("b1", TensorView(one_hot, {8}, DType::f32), ReduceOp::sum);
  for (int i = 0; i < 8; ++i) CHECK(one_hot[i] == (i < size() ? 1.f : 0.f));
  // One node, or as many as the test is told: on each the local ranks are 0 to local_size - 1.
  CHECK(local_rank() < local_size());
  float places[8] = {};
  places[local_rank()] = 1.f / static_cast<float>(local_size());
  allreduce("b2", TensorView(places, {8}, DType::f32), ReduceOp::sum);
  const float nodes = static_cast<float>(size()) / static_cast<float>(local_size());
  for (int i = 0; i < 8; ++i) {
    CHECK(places[i] == (i < local_size() ? nodes / static_cast<float>(local_size()) : 0.f));
  }
}

TEST_CASE("3, 4, W11: init after shutdown works and keeps rank and size") {
  const int before = rank();
  barrier();
  shutdown();
  CHECK_FALSE(is_initialized());
  init();
  CHECK(is_initialized());
  CHECK(rank() == before);
  std::vector<float> values(3, 1.f);
  allreduce("b3", values, ReduceOp::sum);
  CHECK(values[2] == static_cast<float>(size()));
}

TEST_CASE("6: using anything before init is a clear error") {
  barrier();
  shutdown();
  std::vector<float> values(3);
  for (const Status& status :
       {outcome_of([&] { allreduce("b6", values); }), outcome_of([] { barrier(); }),
        outcome_of([] { (void)rank(); }), outcome_of([] { (void)add_process_set({0}); })}) {
    CHECK(status.code() == Code::not_initialized);
    CHECK(status.message().find("init()") != std::string::npos);
  }
  init();
}

TEST_CASE("23, 41, 50, 69: a name in flight is refused at once, whatever the operation") {
  if (size() == 1) return;
  std::vector<float> values(8, 1.f);
  std::vector<float> other(8, 1.f);
  const auto submit = [&](int kind, std::vector<float>& memory) {
    if (kind == 0) return allreduce_async("b23", memory, ReduceOp::sum);
    if (kind == 1) return allgather_async("b23", memory);
    if (kind == 2) return broadcast_async("b23", memory, 0);
    return reduce_scatter_async("b23", memory, ReduceOp::sum);
  };
  for (int kind = 0; kind < 4; ++kind) {
    if (rank() > 0) barrier();  // rank 0 has submitted twice by then
    const Handle first = submit(kind, values);
    if (rank() == 0) {
      const Status second = submit(kind, other).status();
      CHECK(second.code() == Code::duplicate_name);
      CHECK(second.message().find("'b23'") != std::string::npos);  // W12
      barrier();
    }
    CHECK(first.status().ok());
  }
}

TEST_CASE("W6: a name that was used for one kind of operation serves for another") {
  std::vector<float> values(static_cast<std::size_t>(4 * size()), 1.f);
  for (int i = 0; i < 3; ++i) {
    allreduce("w6", values, ReduceOp::max);
    (void)reduce_scatter("w6", values, ReduceOp::max);
    (void)allgather("w6", values);
    broadcast("w6", values, 0);
  }
  CHECK(values[0] == 1.f);
}

TEST_CASE("W7: a group with a name in flight leaves nothing behind") {
  if (size() == 1) return;
  std::vector<float> a(4, 1.f);
  std::vector<float> b(4, 1.f);
  if (rank() > 0) barrier();
  const Handle first = grouped_allreduce_async("w7", {TensorView(a), TensorView(b)}, ReduceOp::sum);
  if (rank() == 0) {
    CHECK(grouped_allreduce_async("w7", {TensorView(a)}, ReduceOp::sum).status().code() ==
          Code::duplicate_name);
    barrier();
  }
  first.wait();
  grouped_allreduce("w7", {TensorView(a), TensorView(b)}, ReduceOp::sum);
  CHECK(b[0] == static_cast<float>(size() * size()));
}

TEST_CASE("W4, d: the integer average of ones is one") {
  std::vector<std::int32_t> ones(100, 1);
  allreduce("w4", ones, ReduceOp::average);
  CHECK(ones == std::vector<std::int32_t>(100, 1));
}

TEST_CASE("W3, e: the same steps give the same bits, whatever is fused with what") {
  std::vector<float> reference;
  for (int round = 0; round < 20; ++round) {
    std::vector<std::vector<float>> tensors;
    for (int i = 0; i < 12; ++i) {
      auto& tensor = tensors.emplace_back(257);
      for (std::size_t k = 0; k < tensor.size(); ++k) {
        tensor[k] = 1.f / static_cast<float>(
                              1 + (k * 7 + static_cast<std::size_t>(i * 31 + rank() * 13)) % 97);
      }
    }
    std::vector<Handle> handles;
    for (std::size_t i = 0; i < tensors.size(); ++i) {
      const std::size_t which =
          (i * 5 + static_cast<std::size_t>(round * (rank() + 1))) % tensors.size();
      handles.push_back(allreduce_async("w3." + std::to_string(which), tensors[which]));
      if ((i + static_cast<std::size_t>(round)) % 4 == 0) std::this_thread::yield();
    }
    for (const Handle& handle : handles) handle.wait();
    std::vector<float> all;
    for (const auto& tensor : tensors) all.insert(all.end(), tensor.begin(), tensor.end());
    if (round == 0) reference = all;
    CHECK(all == reference);
  }
}

TEST_CASE(
    "W8, W9, i: what is outstanding at a shutdown ends, callbacks are called and may submit") {
  std::atomic<int> called{0};
  std::vector<float> values(8, 1.f);
  if (size() > 1 && rank() == 0) {
    for (int i = 0; i < 10; ++i) {
      allreduce_async("w8." + std::to_string(i), values).then([&](const Status& status) {
        CHECK(status.code() == Code::shutdown);
        CHECK_FALSE(outcome_of([&] { allreduce("w9", values); }).ok());
        ++called;
      });
    }
  }
  const int expected = size() > 1 && rank() == 0 ? 10 : 0;
  shutdown();
  CHECK(called == expected);
  init();
}

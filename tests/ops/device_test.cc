// SPDX-License-Identifier: Apache-2.0
//
// The public operations on device memory, on 1 to 3 ranks. Exits with 77 without a GPU.
#include "../support/mpi_main.h"
#include "device_tensor.h"
#include "outcome.h"

#include <ringleader/ringleader.h>

#include <cuda_runtime_api.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "../support/catch.h"

using namespace ringleader;
using namespace ringleader::test;

TEST_CASE("an operation waits for the user's stream, and the stream for its result") {
  Tensor tensor;
  const std::vector<float> mine = numbers(rank() + 1);
  delay(tensor.stream());
  tensor.set(mine);
  const Handle handle = allreduce_async("sum", tensor.view(), ReduceOp::sum);
  handle.wait(tensor.stream());
  CHECK(tensor.get() == numbers(sum_of_ranks()));
  CHECK(handle.status().ok());
}

TEST_CASE("a name may be used again once a stream waits for its result") {
  Tensor tensor;
  const std::vector<float> mine = numbers(1);
  for (int i = 0; i < 20; ++i) {
    tensor.set(mine);
    const Handle handle = allreduce_async("again", tensor.view(), ReduceOp::sum);
    handle.wait(tensor.stream());
  }
  CHECK(tensor.get() == numbers(size()));
}

TEST_CASE("blocking operations return when the result is there") {
  Tensor tensor;
  const std::vector<float> mine = numbers(rank() + 1);
  tensor.set(mine);
  allreduce("average", tensor.view(), ReduceOp::sum);
  CHECK(tensor.get() == numbers(sum_of_ranks()));
  broadcast("broadcast", tensor.view(), 0);
  const Output all = allgather("gather", tensor.view());
  CHECK(all.view().device() == Device::cuda);
  CHECK(all.view().count() == kCount * size());
  CHECK_THROWS_AS(all.to_vector<float>(), Error);
}

TEST_CASE("groups of tensors in two streams are one operation") {
  Tensor first;
  Tensor second;
  const std::vector<float> mine = numbers(rank() + 1);
  delay(second.stream());
  first.set(mine);
  second.set(mine);
  const Handle handle =
      grouped_allreduce_async("group", {first.view(), second.view()}, ReduceOp::sum);
  handle.wait(first.stream());
  handle.wait(second.stream());
  CHECK(first.get() == numbers(sum_of_ranks()));
  CHECK(second.get() == numbers(sum_of_ranks()));
}

TEST_CASE("an optimizer's gradients on the device are averaged, step after step") {
  Tensor parameter;
  Tensor gradient;
  const std::vector<float> mine = numbers(2 * rank());
  int steps = 0;
  OptimizerOptions options;
  options.broadcast_parameters = false;
  const Slot slot{"gradient", parameter.view(), gradient.view(), {}};
  DistributedOptimizer optimizer(
      {slot}, [&] { ++steps; }, GradientMeaning::mean, options);
  for (int step = 0; step < 10; ++step) {
    delay(gradient.stream());
    gradient.set(mine);
    optimizer.ready(0);
    optimizer.step();
    const std::vector<float> mean = gradient.get();
    const std::vector<float> expected = numbers(size() - 1);
    float worst = 0;  // NCCL multiplies the inputs, and a third is no float
    for (std::size_t i = 0; i < mean.size(); ++i) {
      worst = std::max(worst, std::abs(mean[i] - expected[i]) / std::max(expected[i], 1.F));
    }
    CHECK(worst < 1e-6F);
  }
  CHECK(steps == 10);
}

TEST_CASE("device memory on one rank and host memory on another is an error that names them") {
  if (size() == 1) return;
  Tensor tensor;
  std::vector<float> host(kCount);
  const TensorView view = rank() == 0 ? tensor.view() : TensorView(host);
  const Status outcome = outcome_of([&] { allreduce("mixed", view); });
  CHECK(outcome.code() == Code::mismatch);
  CHECK(outcome.message().find("memory") != std::string::npos);
}

TEST_CASE("gradients on the device are clipped by their norm, and travel in 16 bits") {
  for (const Compression compression : {Compression::none, Compression::fp16, Compression::bf16}) {
    Tensor parameters[2];
    Tensor gradient;
    Tensor other;
    OptimizerOptions options;
    options.broadcast_parameters = false;
    options.compression = compression;
    DistributedOptimizer optimizer(
        {Slot{"gradient", parameters[0].view(), gradient.view(), {}},
         Slot{"other", parameters[1].view(), other.view(), {}}},
        [] {}, GradientMeaning::mean, options);
    gradient.set(std::vector<float>(kCount, 3.F));
    other.set(std::vector<float>(kCount, 4.F));
    optimizer.ready(0);
    optimizer.ready(1);
    const double norm = 5.0 * std::sqrt(static_cast<double>(kCount));
    CHECK(std::abs(optimizer.clip_gradient_norm(norm / 2) - norm) < 1e-4 * norm);
    optimizer.step();
    for (const float value : gradient.get()) REQUIRE(std::abs(value - 1.5F) < 1e-5F);
    for (const float value : other.get()) REQUIRE(std::abs(value - 2.F) < 1e-5F);
    constexpr float kNeedsTwelveBits = 4097.F;
    gradient.set(std::vector<float>(kCount, kNeedsTwelveBits));
    optimizer.ready(0);
    optimizer.step();
    CHECK((gradient.get()[0] == kNeedsTwelveBits) == (compression == Compression::none));
  }
}

TEST_CASE("the same numbers give the same bits every time") {
  Tensor tensor;
  std::vector<float> mine;
  for (std::int64_t i = 0; i < kCount; ++i) {
    mine.push_back(std::sin(static_cast<float>(i * (rank() + 1))));
  }
  std::vector<float> first;
  for (int i = 0; i < 5; ++i) {
    tensor.set(mine);
    allreduce("bits", tensor.view());
    const std::vector<float> result = tensor.get();
    if (i == 0) first = result;
    CHECK(std::memcmp(first.data(), result.data(), tensor.bytes()) == 0);
  }
}

int main(int argc, char** argv) {
  int count = 0;
  if (cudaGetDeviceCount(&count) != cudaSuccess || count == 0) {
    std::printf("skipped: there is no GPU here\n");
    return 77;
  }
  return test::run_cases_under_mpi(argc, argv);
}

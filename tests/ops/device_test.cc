// SPDX-License-Identifier: Apache-2.0
//
// The public operations on device memory, on 1 to 3 ranks. Exits with 77 without a GPU.
#include "../support/mpi_main.h"
#include "outcome.h"

#include <ringleader/ringleader.h>

#include <cuda_runtime_api.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstring>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "../support/catch.h"

using namespace ringleader;
using ringleader::test::outcome_of;

namespace {

constexpr std::int64_t kCount = 100'003;

void check(cudaError_t code) {
  if (code != cudaSuccess) throw std::runtime_error(cudaGetErrorString(code));
}

/// Elements on the device, and the stream in which they are used.
class Tensor {
 public:
  explicit Tensor(std::int64_t count = kCount) : count_(count) {
    int devices = 0;
    check(cudaGetDeviceCount(&devices));
    check(cudaSetDevice(local_rank() % devices));
    check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking));
    check(cudaMalloc(&data_, bytes()));
    check(cudaMallocHost(reinterpret_cast<void**>(&staged_), bytes()));
  }
  ~Tensor() {
    static_cast<void>(cudaFreeHost(staged_));
    static_cast<void>(cudaFree(data_));
    static_cast<void>(cudaStreamDestroy(stream_));
  }
  Tensor(const Tensor&) = delete;
  Tensor& operator=(const Tensor&) = delete;

  TensorView view() const {
    return TensorView(data_, {count_}, DType::f32, Device::cuda).on(stream_);
  }
  void* data() const { return data_; }
  cudaStream_t stream() const { return stream_; }
  std::size_t bytes() const { return static_cast<std::size_t>(count_) * sizeof(float); }

  /// Only enqueues; from memory that is not pinned, the copy would wait for the stream.
  void set(const std::vector<float>& values) {
    std::copy(values.begin(), values.end(), staged_);
    check(cudaMemcpyAsync(data_, staged_, bytes(), cudaMemcpyHostToDevice, stream_));
  }
  /// In the order of the stream.
  std::vector<float> get() const {
    std::vector<float> values(static_cast<std::size_t>(count_));
    check(cudaMemcpyAsync(values.data(), data_, bytes(), cudaMemcpyDeviceToHost, stream_));
    check(cudaStreamSynchronize(stream_));
    return values;
  }

 private:
  std::int64_t count_;
  void* data_ = nullptr;
  float* staged_ = nullptr;
  cudaStream_t stream_ = nullptr;
};

/// Exact in any order of summation.
std::vector<float> numbers(int factor) {
  std::vector<float> values;
  for (std::int64_t i = 0; i < kCount; ++i) values.push_back(float(i % 1000 * factor));
  return values;
}

int sum_of_ranks() { return size() * (size() + 1) / 2; }

/// Keeps the stream from going on for a while.
void delay(cudaStream_t stream) {
  check(cudaLaunchHostFunc(
      stream, [](void*) { std::this_thread::sleep_for(std::chrono::milliseconds(50)); }, nullptr));
}

}  // namespace

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
    Tensor parameter;
    Tensor gradient;
    Tensor other;
    OptimizerOptions options;
    options.broadcast_parameters = false;
    options.compression = compression;
    DistributedOptimizer optimizer(
        {Slot{"gradient", parameter.view(), gradient.view(), {}},
         Slot{"other", parameter.view(), other.view(), {}}},
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

TEST_CASE("a profiler sees what a batch does") {
  static std::mutex mutex;
  static std::vector<std::string> begun;
  static std::atomic<int> open{0};
  static constexpr Tracer kTracer = {[](const char* name) {
                                       const std::lock_guard lock(mutex);
                                       begun.emplace_back(name);
                                       ++open;
                                       return std::uint64_t{1};
                                     },
                                     [](std::uint64_t) { --open; }};
  install_tracer(&kTracer);
  Tensor first;
  Tensor second;
  const std::vector<float> mine = numbers(1);
  first.set(mine);
  second.set(mine);
  grouped_allreduce_async("traced", {first.view(), second.view()}, ReduceOp::sum).wait();
  barrier();  // on this thread the loop has nothing in its hands
  install_tracer(nullptr);
  const std::lock_guard lock(mutex);
  for (const char* const range : {"negotiate traced", "pack", "collective allreduce", "unpack"}) {
    CHECK(std::count(begun.begin(), begun.end(), range) == 1);
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

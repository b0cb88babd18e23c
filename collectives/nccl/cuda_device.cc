// SPDX-License-Identifier: Apache-2.0
//
// The runtime's port to the GPU's memory and streams.
#include <ringleader/collectives/kernels/reduce.h>
#include <ringleader/collectives/nccl/arithmetic.h>
#include <ringleader/collectives/nccl/handles.h>
#include <ringleader/collectives/nccl/nccl_backend.h>

#include <array>
#include <map>
#include <numeric>
#include <utility>
#include <vector>

namespace ringleader::nccl {
namespace {

class CudaDevice : public DevicePort {
 public:
  explicit CudaDevice(std::shared_ptr<ChosenDevice> device) : device_(std::move(device)) {}

  void adopt_thread() override { nccl::adopt_thread(); }

  /// Stream 0 belongs to the device that is current when it is used.
  Result<std::shared_ptr<DeviceEvent>> record(void* stream) override {
    const UseDevice use(device_->choose());
    if (!use.status().ok()) return use.status();
    cudaStreamCaptureStatus capture = cudaStreamCaptureStatusNone;
    RL_CUDA_RETURN_IF_ERROR(cudaStreamIsCapturing(static_cast<cudaStream_t>(stream), &capture));
    if (capture != cudaStreamCaptureStatusNone) {
      return Status(Code::unsupported, "operations cannot be captured in a graph");
    }
    Result<std::shared_ptr<Event>> event = Event::record(static_cast<cudaStream_t>(stream));
    if (!event.ok()) return event.status();
    return std::shared_ptr<DeviceEvent>(std::move(*event));
  }

  Status wait(void* stream, const DeviceEvent& event) override {
    const UseDevice use(device_->choose());
    if (!use.status().ok()) return use.status();
    return checked(cudaStreamWaitEvent(static_cast<cudaStream_t>(stream),
                                       static_cast<const Event&>(event).get(), 0),
                   "cudaStreamWaitEvent");
  }

  Status copy(void* stream, void* to, const void* from, std::size_t bytes) override {
    const UseDevice use(device_->choose());
    if (!use.status().ok()) return use.status();
    return checked(
        cudaMemcpyAsync(to, from, bytes, cudaMemcpyDefault, static_cast<cudaStream_t>(stream)),
        "cudaMemcpyAsync");
  }

  Status clear(void* stream, void* memory, std::size_t bytes) override {
    const UseDevice use(device_->choose());
    if (!use.status().ok()) return use.status();
    return checked(cudaMemsetAsync(memory, 0, bytes, static_cast<cudaStream_t>(stream)),
                   "cudaMemsetAsync");
  }

  Status multiply(const TensorView& tensor, double factor) override {
    const UseDevice use(device_->choose());
    if (!use.status().ok()) return use.status();
    return nccl::multiply(tensor, factor, static_cast<cudaStream_t>(tensor.stream()));
  }

  /// The kernels of each stream add to its partial sums, one tensor after another.
  Result<double> sum_of_squares(const std::vector<TensorView>& tensors) override {
    const UseDevice use(device_->choose());
    if (!use.status().ok()) return use.status();
    constexpr std::size_t kBytes = kPartialSums * sizeof(double);
    std::map<cudaStream_t, StreamBuffer> partial_sums;
    std::vector<cudaStream_t> streams;  // in order of appearance, not of their addresses
    for (const TensorView& tensor : tensors) {
      const auto stream = static_cast<cudaStream_t>(tensor.stream());
      StreamBuffer& sums = partial_sums[stream];
      if (sums.get() == nullptr) {
        Result<StreamBuffer> buffer = StreamBuffer::allocate(kBytes, stream);
        if (!buffer.ok()) return buffer.status();
        sums = std::move(*buffer);
        streams.push_back(stream);
        RL_CUDA_RETURN_IF_ERROR(cudaMemsetAsync(sums.get(), 0, kBytes, stream));
      }
      Status added = add_squares(tensor, static_cast<double*>(sums.get()), stream);
      if (!added.ok()) return added;
    }
    double total = 0;
    std::vector<double> values(kPartialSums);
    for (const cudaStream_t stream : streams) {
      RL_CUDA_RETURN_IF_ERROR(cudaMemcpyAsync(values.data(), partial_sums[stream].get(), kBytes,
                                              cudaMemcpyDeviceToHost, stream));
      RL_CUDA_RETURN_IF_ERROR(cudaStreamSynchronize(stream));
      total = std::accumulate(values.begin(), values.end(), total);
    }
    return total;
  }

  Result<std::shared_ptr<std::byte>> allocate(std::size_t bytes) override {
    const UseDevice use(device_->choose());
    if (!use.status().ok()) return use.status();
    void* memory = nullptr;
    if (bytes > 0) RL_CUDA_RETURN_IF_ERROR(cudaMalloc(&memory, bytes));
    return std::shared_ptr<std::byte>(static_cast<std::byte*>(memory),
                                      [](std::byte* p) { static_cast<void>(cudaFree(p)); });
  }

  Result<std::shared_ptr<std::byte>> allocate_neutral(std::int64_t count, DType dtype,
                                                      ReduceOp op) override {
    const UseDevice use(device_->get());
    if (!use.status().ok()) return use.status();
    if (stream_ == nullptr) {
      Result<Stream> stream = Stream::create();
      if (!stream.ok()) return stream.status();
      stream_ = std::make_shared<Stream>(std::move(*stream));
    }
    // Freed without waiting for the device, whose other work may be waiting for this thread.
    Result<StreamBuffer> buffer =
        StreamBuffer::allocate(static_cast<std::size_t>(count) * size_of(dtype), stream_->get());
    if (!buffer.ok()) return buffer.status();
    const auto owner = std::make_shared<std::pair<std::shared_ptr<Stream>, StreamBuffer>>(
        stream_, std::move(*buffer));
    auto* const memory = static_cast<std::byte*>(owner->second.get());
    alignas(8) std::array<std::byte, 8> element;  // room for the largest type
    kernels::fill_neutral(element.data(), 1, dtype, op);
    Status filled = fill(memory, count, dtype, element.data(), stream_->get());
    if (!filled.ok()) return filled;
    // The batch that reads it runs in another stream; this one has nothing else to do.
    RL_CUDA_RETURN_IF_ERROR(cudaStreamSynchronize(stream_->get()));
    return std::shared_ptr<std::byte>(owner, memory);
  }

 private:
  std::shared_ptr<ChosenDevice> device_;
  std::shared_ptr<Stream> stream_;  ///< for neutral elements; used by whoever drives the runtime
};

}  // namespace

std::shared_ptr<DevicePort> make_cuda_device(std::shared_ptr<ChosenDevice> device) {
  return std::make_shared<CudaDevice>(std::move(device));
}

}  // namespace ringleader::nccl

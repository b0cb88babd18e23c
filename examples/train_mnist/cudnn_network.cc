// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <map>
#include <utility>

#include "cuda_bias.h"
#include "cuda_handles.h"
#include "cuda_kernels.h"
#include "cuda_support.h"
#include "cudnn_layers.h"

namespace train_mnist {
namespace {

/// Memory for all parameters, or for all gradients; each begins at an alignment that suits kernels.
class Tensors {
 public:
  Tensors(const std::vector<ParameterSpec>& specs, cudaStream_t stream) {
    std::int64_t total = 0;
    std::vector<std::int64_t> begins;
    for (const ParameterSpec& spec : specs) {
      begins.push_back(total);
      total += (ringleader::count_of(spec.shape) + kAlignment - 1) / kAlignment * kAlignment;
    }
    memory_ = device_memory<float>(total);
    for (std::size_t i = 0; i < specs.size(); ++i) {
      const ringleader::TensorView view(memory_.get() + begins[i], specs[i].shape,
                                        ringleader::DType::f32, ringleader::Device::cuda);
      views_.push_back(view.on(stream));
    }
  }
  const ringleader::TensorView& operator[](std::size_t i) const { return views_[i]; }

 private:
  static constexpr std::int64_t kAlignment = 64;  // 256 bytes, as cudaMalloc aligns

  std::shared_ptr<float> memory_;
  std::vector<ringleader::TensorView> views_;
};

/// What depends on the number of images.
struct Plan {
  Plan(const CudaContext& context, std::int64_t count, const std::vector<Parameter>& parameters)
      : staged_pixels(pinned_memory<float>(count * kImagePixels)),
        staged_labels(pinned_memory<std::uint8_t>(count)),
        pixels(device_memory<float>(count * kImagePixels)),
        labels(device_memory<std::uint8_t>(count)),
        probabilities(device_memory<float>(count * kClasses)),
        gradient(device_memory<float>(count * kClasses)),
        device_losses(device_memory<float>(count)),
        device_correct(device_memory<std::uint8_t>(count)),
        losses(pinned_memory<float>(count)),
        correct(pinned_memory<std::uint8_t>(count)) {
    const std::int64_t channels1 = parameters[0].value.shape()[0];
    const std::int64_t channels2 = parameters[2].value.shape()[0];
    layers.push_back(
        make_convolution(context, {count, 1, kImageSide}, {count, channels1, 24}, parameters, 0));
    layers.push_back(make_max_pool_relu(context, {count, channels1, 24}));
    layers.push_back(
        make_convolution(context, {count, channels1, 12}, {count, channels2, 8}, parameters, 2));
    layers.push_back(make_max_pool_relu(context, {count, channels2, 8}));
    layers.push_back(make_dense(context, count, parameters, 4, true));
    layers.push_back(make_dense(context, count, parameters, 6, false));
    describe(logits, {count, kClasses, 1});
  }

  std::vector<std::unique_ptr<CudaLayer>> layers;
  TensorDescriptor logits;
  std::shared_ptr<float> staged_pixels;  ///< host memory that the device reads directly
  std::shared_ptr<std::uint8_t> staged_labels;
  std::shared_ptr<float> pixels;
  std::shared_ptr<std::uint8_t> labels;
  std::shared_ptr<float> probabilities;  ///< their logarithms, [count, kClasses]
  std::shared_ptr<float> gradient;       ///< of the logits
  std::shared_ptr<float> device_losses;  ///< per image
  std::shared_ptr<std::uint8_t> device_correct;
  std::shared_ptr<float> losses;  ///< the same in host memory
  std::shared_ptr<std::uint8_t> correct;
};

class CudnnNetwork : public Network {
 public:
  explicit CudnnNetwork(const NetworkOptions& options)
      : specs_(architecture(options.hidden)),
        values_(specs_, context_.stream.get()),
        gradients_(specs_, context_.stream.get()) {
    const auto starts = initial_values(specs_, options.seed);
    for (std::size_t i = 0; i < specs_.size(); ++i) {
      parameters_.push_back({specs_[i].name, values_[i], gradients_[i]});
      copy(values_[i].data(), starts[i].data(), starts[i].size() * sizeof(float));
    }
    wait();
  }
  // Kernels still use the memory.
  ~CudnnNetwork() override { static_cast<void>(cudaStreamSynchronize(context_.stream.get())); }

  const std::vector<Parameter>& parameters() const override { return parameters_; }

  Outcome forward(const Batch& batch) override {
    const auto count = static_cast<std::int64_t>(batch.labels.size());
    current_ = &plan_for(count);
    std::copy(batch.pixels.begin(), batch.pixels.end(), current_->staged_pixels.get());
    std::copy(batch.labels.begin(), batch.labels.end(), current_->staged_labels.get());
    copy(current_->pixels.get(), current_->staged_pixels.get(),
         batch.pixels.size() * sizeof(float));
    copy(current_->labels.get(), current_->staged_labels.get(), batch.labels.size());
    const float* data = current_->pixels.get();
    for (const auto& layer : current_->layers) data = layer->forward(data);
    return classify(data, count);
  }

  /// Does not wait for the device: gradients are announced when they have been enqueued.
  void backward(const std::function<void(std::size_t)>& ready) override {
    float* gradient = current_->gradient.get();
    for (auto layer = current_->layers.rbegin(); layer != current_->layers.rend(); ++layer) {
      gradient = (*layer)->backward(gradient, ready);
    }
  }

  std::vector<float> snapshot() const override {
    std::vector<float> all;
    for (const Parameter& parameter : parameters_) {
      const std::size_t begin = all.size();
      all.resize(begin + static_cast<std::size_t>(parameter.value.count()));
      copy(all.data() + begin, parameter.value.data(), (all.size() - begin) * sizeof(float));
      wait();
    }
    return all;
  }

 private:
  Plan& plan_for(std::int64_t count) {
    const auto found = plans_.find(count);
    if (found != plans_.end()) return *found->second;
    return *plans_.emplace(count, std::make_unique<Plan>(context_, count, parameters_))
                .first->second;
  }

  void copy(void* to, const void* from, std::size_t bytes) const {
    check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDefault, context_.stream.get()),
          "cudaMemcpyAsync");
  }
  void wait() const {
    check(cudaStreamSynchronize(context_.stream.get()), "cudaStreamSynchronize");
  }

  /// Softmax and cross entropy; waits for the device.
  Outcome classify(const float* logits, std::int64_t count) const {
    const Plan& plan = *current_;
    check(cudnnSoftmaxForward(context_.dnn.get(), CUDNN_SOFTMAX_LOG, CUDNN_SOFTMAX_MODE_INSTANCE,
                              &kOne, plan.logits.get(), logits, &kZero, plan.logits.get(),
                              plan.probabilities.get()),
          "cudnnSoftmaxForward");
    cross_entropy(plan.probabilities.get(), plan.labels.get(), count, plan.gradient.get(),
                  plan.device_losses.get(), plan.device_correct.get(), context_.stream.get());
    copy(plan.losses.get(), plan.device_losses.get(),
         static_cast<std::size_t>(count) * sizeof(float));
    copy(plan.correct.get(), plan.device_correct.get(), static_cast<std::size_t>(count));
    wait();
    Outcome total;
    for (std::int64_t i = 0; i < count; ++i) {
      total.loss += double{plan.losses.get()[i]} / static_cast<double>(count);
      total.correct += plan.correct.get()[i];
    }
    return total;
  }

  std::vector<ParameterSpec> specs_;
  CudaContext context_;
  Tensors values_;
  Tensors gradients_;
  std::vector<Parameter> parameters_;
  std::map<std::int64_t, std::unique_ptr<Plan>> plans_;  ///< by batch size
  Plan* current_ = nullptr;                              ///< of the last forward()
};

}  // namespace

int cuda_device_count() {
  int count = 0;
  return cudaGetDeviceCount(&count) == cudaSuccess ? count : 0;
}

std::string cuda_device_uuid(int device) {
  cudaDeviceProp properties;
  check(cudaGetDeviceProperties(&properties, device), "cudaGetDeviceProperties");
  return {properties.uuid.bytes, sizeof properties.uuid.bytes};
}

void use_cuda_device(int device) { check(cudaSetDevice(device), "cudaSetDevice"); }

std::unique_ptr<Network> make_cudnn_network(const NetworkOptions& options) {
  return std::make_unique<CudnnNetwork>(options);
}

std::shared_ptr<float> make_cuda_zeros(std::int64_t count) {
  auto memory = device_memory<float>(count);
  check(cudaMemset(memory.get(), 0, static_cast<std::size_t>(count) * sizeof(float)), "cudaMemset");
  check(cudaDeviceSynchronize(), "cudaDeviceSynchronize");
  return memory;
}

}  // namespace train_mnist

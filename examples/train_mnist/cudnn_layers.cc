// SPDX-License-Identifier: Apache-2.0
#include "cudnn_layers.h"

#include <algorithm>
#include <cstddef>

#include "cuda_bias.h"

namespace train_mnist {
namespace {

// Algorithms that give the same bits in every run and need no transformed weights.
constexpr auto kForward = CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_PRECOMP_GEMM;
constexpr auto kBackwardWeights = CUDNN_CONVOLUTION_BWD_FILTER_ALGO_1;
constexpr auto kBackwardSource = CUDNN_CONVOLUTION_BWD_DATA_ALGO_1;

/// A 5x5 convolution without padding; the weights are parameter `first`, the bias is the next one.
class Convolution : public CudaLayer {
 public:
  Convolution(const CudaContext& context, const ImageShape& source, const ImageShape& result,
              const std::vector<Parameter>& parameters, std::size_t first)
      : context_(context),
        weights_(parameters[first]),
        first_(first),
        bias_(context, result, parameters[first + 1]),
        result_(device_memory<float>(elements(result))) {
    const auto kernel_side = static_cast<int>(source.side - result.side + 1);
    describe(source_, source);
    check(cudnnSetFilter4dDescriptor(filter_.get(), CUDNN_DATA_FLOAT, CUDNN_TENSOR_NCHW,
                                     static_cast<int>(result.channels),
                                     static_cast<int>(source.channels), kernel_side, kernel_side),
          "cudnnSetFilter4dDescriptor");
    check(cudnnSetConvolution2dDescriptor(convolution_.get(), 0, 0, 1, 1, 1, 1,
                                          CUDNN_CROSS_CORRELATION, CUDNN_DATA_FLOAT),
          "cudnnSetConvolution2dDescriptor");
    // Not in TF32, whose ten bits of mantissa would give losses that differ from the CPU's.
    check(cudnnSetConvolutionMathType(convolution_.get(), CUDNN_FMA_MATH),
          "cudnnSetConvolutionMathType");
    if (first_ > 0) source_gradient_ = device_memory<float>(elements(source));
    reserve_workspace();
  }

  float* forward(const float* source) override {
    input_ = source;
    check(cudnnConvolutionForward(context_.dnn.get(), &kOne, source_.get(), source, filter_.get(),
                                  values_of(weights_.value), convolution_.get(), kForward,
                                  workspace_.get(), workspace_bytes_, &kZero, bias_.result(),
                                  result_.get()),
          "cudnnConvolutionForward");
    bias_.add(result_.get());
    return result_.get();
  }

  float* backward(float* gradient, const Ready& ready) override {
    bias_.backward(gradient);
    ready(first_ + 1);
    check(cudnnConvolutionBackwardFilter(context_.dnn.get(), &kOne, source_.get(), input_,
                                         bias_.result(), gradient, convolution_.get(),
                                         kBackwardWeights, workspace_.get(), workspace_bytes_,
                                         &kZero, filter_.get(), values_of(weights_.gradient)),
          "cudnnConvolutionBackwardFilter");
    ready(first_);
    if (first_ == 0) return nullptr;
    check(cudnnConvolutionBackwardData(
              context_.dnn.get(), &kOne, filter_.get(), values_of(weights_.value), bias_.result(),
              gradient, convolution_.get(), kBackwardSource, workspace_.get(), workspace_bytes_,
              &kZero, source_.get(), source_gradient_.get()),
          "cudnnConvolutionBackwardData");
    return source_gradient_.get();
  }

 private:
  void reserve_workspace() {
    std::size_t forward = 0;
    std::size_t weights = 0;
    std::size_t source = 0;
    check(cudnnGetConvolutionForwardWorkspaceSize(context_.dnn.get(), source_.get(), filter_.get(),
                                                  convolution_.get(), bias_.result(), kForward,
                                                  &forward),
          "cudnnGetConvolutionForwardWorkspaceSize");
    check(cudnnGetConvolutionBackwardFilterWorkspaceSize(context_.dnn.get(), source_.get(),
                                                         bias_.result(), convolution_.get(),
                                                         filter_.get(), kBackwardWeights, &weights),
          "cudnnGetConvolutionBackwardFilterWorkspaceSize");
    if (first_ > 0) {
      check(cudnnGetConvolutionBackwardDataWorkspaceSize(context_.dnn.get(), filter_.get(),
                                                         bias_.result(), convolution_.get(),
                                                         source_.get(), kBackwardSource, &source),
            "cudnnGetConvolutionBackwardDataWorkspaceSize");
    }
    workspace_bytes_ = std::max({forward, weights, source});
    workspace_ = device_memory<std::byte>(static_cast<std::int64_t>(workspace_bytes_));
  }

  const CudaContext& context_;
  const Parameter& weights_;
  std::size_t first_;
  Bias bias_;
  TensorDescriptor source_;
  FilterDescriptor filter_;
  ConvolutionDescriptor convolution_;
  std::shared_ptr<float> result_;
  std::shared_ptr<float> source_gradient_;
  std::shared_ptr<std::byte> workspace_;
  std::size_t workspace_bytes_ = 0;
  const float* input_ = nullptr;  ///< of the last forward()
};

/// The maximum of each 2x2 block, rectified: the same function as rectifying first, for a quarter
/// of the work.
class MaxPoolRelu : public CudaLayer {
 public:
  MaxPoolRelu(const CudaContext& context, const ImageShape& source)
      : context_(context),
        result_count_(elements(source) / 4),
        result_(device_memory<float>(2 * result_count_)),
        source_gradient_(device_memory<float>(elements(source))) {
    describe(source_shape_, source);
    describe(result_shape_, {source.count, source.channels, source.side / 2});
    check(cudnnSetPooling2dDescriptor(pooling_.get(), CUDNN_POOLING_MAX_DETERMINISTIC,
                                      CUDNN_NOT_PROPAGATE_NAN, 2, 2, 0, 0, 2, 2),
          "cudnnSetPooling2dDescriptor");
    describe_relu(relu_);
  }

  float* forward(const float* source) override {
    input_ = source;
    check(cudnnPoolingForward(context_.dnn.get(), pooling_.get(), &kOne, source_shape_.get(),
                              source, &kZero, result_shape_.get(), pooled()),
          "cudnnPoolingForward");
    check(cudnnActivationForward(context_.dnn.get(), relu_.get(), &kOne, result_shape_.get(),
                                 pooled(), &kZero, result_shape_.get(), rectified()),
          "cudnnActivationForward");
    return rectified();
  }

  float* backward(float* gradient, const Ready& /*ready*/) override {
    check(cudnnActivationBackward(context_.dnn.get(), relu_.get(), &kOne, result_shape_.get(),
                                  rectified(), result_shape_.get(), gradient, result_shape_.get(),
                                  pooled(), &kZero, result_shape_.get(), gradient),
          "cudnnActivationBackward");
    check(cudnnPoolingBackward(context_.dnn.get(), pooling_.get(), &kOne, result_shape_.get(),
                               pooled(), result_shape_.get(), gradient, source_shape_.get(), input_,
                               &kZero, source_shape_.get(), source_gradient_.get()),
          "cudnnPoolingBackward");
    return source_gradient_.get();
  }

 private:
  float* pooled() const { return result_.get(); }
  float* rectified() const { return result_.get() + result_count_; }

  const CudaContext& context_;
  std::int64_t result_count_;
  TensorDescriptor source_shape_;
  TensorDescriptor result_shape_;
  PoolingDescriptor pooling_;
  ActivationDescriptor relu_;
  std::shared_ptr<float> result_;  ///< twice: before and after it is rectified
  std::shared_ptr<float> source_gradient_;
  const float* input_ = nullptr;
};

}  // namespace

std::unique_ptr<CudaLayer> make_convolution(const CudaContext& context, const ImageShape& source,
                                            const ImageShape& result,
                                            const std::vector<Parameter>& parameters,
                                            std::size_t first) {
  return std::make_unique<Convolution>(context, source, result, parameters, first);
}

std::unique_ptr<CudaLayer> make_max_pool_relu(const CudaContext& context,
                                              const ImageShape& source) {
  return std::make_unique<MaxPoolRelu>(context, source);
}

}  // namespace train_mnist

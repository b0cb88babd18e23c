// SPDX-License-Identifier: Apache-2.0
//
// What a convolution and a dense layer on a GPU have in common: shapes, and one bias per channel of
// the result.
#pragma once

#include <cstdint>

#include "cudnn_layers.h"

namespace train_mnist {

constexpr float kOne = 1;
constexpr float kZero = 0;

inline std::int64_t elements(const ImageShape& shape) {
  return shape.count * shape.channels * shape.side * shape.side;
}

inline void describe(const TensorDescriptor& descriptor, const ImageShape& shape) {
  const auto side = static_cast<int>(shape.side);
  check(cudnnSetTensor4dDescriptor(descriptor.get(), CUDNN_TENSOR_NCHW, CUDNN_DATA_FLOAT,
                                   static_cast<int>(shape.count), static_cast<int>(shape.channels),
                                   side, side),
        "cudnnSetTensor4dDescriptor");
}

inline void describe_relu(const ActivationDescriptor& descriptor) {
  check(cudnnSetActivationDescriptor(descriptor.get(), CUDNN_ACTIVATION_RELU,
                                     CUDNN_NOT_PROPAGATE_NAN, 0),
        "cudnnSetActivationDescriptor");
}

inline float* values_of(const ringleader::TensorView& view) {
  return static_cast<float*>(view.data());
}

class Bias {
 public:
  Bias(const CudaContext& context, const ImageShape& result, const Parameter& parameter)
      : context_(context), parameter_(parameter) {
    describe(result_, result);
    describe(bias_, {1, result.channels, 1});
  }

  void add(float* result) const {
    check(cudnnAddTensor(context_.dnn.get(), &kOne, bias_.get(), values_of(parameter_.value), &kOne,
                         result_.get(), result),
          "cudnnAddTensor");
  }

  void backward(const float* gradient) const {
    check(cudnnConvolutionBackwardBias(context_.dnn.get(), &kOne, result_.get(), gradient, &kZero,
                                       bias_.get(), values_of(parameter_.gradient)),
          "cudnnConvolutionBackwardBias");
  }

  cudnnTensorDescriptor_t result() const { return result_.get(); }

 private:
  const CudaContext& context_;
  const Parameter& parameter_;
  TensorDescriptor result_;
  TensorDescriptor bias_;
};

}  // namespace train_mnist

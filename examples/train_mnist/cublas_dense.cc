// SPDX-License-Identifier: Apache-2.0
#include "cuda_bias.h"
#include "cudnn_layers.h"

namespace train_mnist {
namespace {

/// A matrix as cuBLAS sees it, in column-major order: a tensor of [n, m] is a matrix of m x n.
struct Matrix {
  const float* data;
  std::int64_t rows;
  cublasOperation_t transposed = CUBLAS_OP_N;
};

/// result = weights * source + bias, rectified or not. Weights are [outputs, inputs].
class Dense : public CudaLayer {
 public:
  Dense(const CudaContext& context, std::int64_t count, const std::vector<Parameter>& parameters,
        std::size_t first, bool rectified)
      : context_(context),
        count_(count),
        weights_(parameters[first]),
        first_(first),
        rectified_(rectified),
        outputs_(weights_.value.shape()[0]),
        inputs_(weights_.value.shape()[1]),
        bias_(context, {count, outputs_, 1}, parameters[first + 1]),
        result_(device_memory<float>(count * outputs_)),
        source_gradient_(device_memory<float>(count * inputs_)) {
    describe_relu(relu_);
  }

  float* forward(const float* source) override {
    input_ = source;
    multiply({values_of(weights_.value), inputs_, CUBLAS_OP_T}, {source, inputs_}, inputs_,
             result_.get(), outputs_, count_);
    bias_.add(result_.get());
    if (rectified_) {
      check(cudnnActivationForward(context_.dnn.get(), relu_.get(), &kOne, bias_.result(),
                                   result_.get(), &kZero, bias_.result(), result_.get()),
            "cudnnActivationForward");
    }
    return result_.get();
  }

  float* backward(float* gradient, const Ready& ready) override {
    if (rectified_) {
      check(cudnnActivationBackward(context_.dnn.get(), relu_.get(), &kOne, bias_.result(),
                                    result_.get(), bias_.result(), gradient, bias_.result(),
                                    result_.get(), &kZero, bias_.result(), gradient),
            "cudnnActivationBackward");
    }
    bias_.backward(gradient);
    ready(first_ + 1);
    multiply({input_, inputs_}, {gradient, outputs_, CUBLAS_OP_T}, count_,
             values_of(weights_.gradient), inputs_, outputs_);
    ready(first_);
    multiply({values_of(weights_.value), inputs_}, {gradient, outputs_}, outputs_,
             source_gradient_.get(), inputs_, count_);
    return source_gradient_.get();
  }

 private:
  /// result [rows x columns] = a * b, over `inner` elements.
  void multiply(const Matrix& a, const Matrix& b, std::int64_t inner, float* result,
                std::int64_t rows, std::int64_t columns) const {
    check(cublasSgemm(context_.blas.get(), a.transposed, b.transposed, static_cast<int>(rows),
                      static_cast<int>(columns), static_cast<int>(inner), &kOne, a.data,
                      static_cast<int>(a.rows), b.data, static_cast<int>(b.rows), &kZero, result,
                      static_cast<int>(rows)),
          "cublasSgemm");
  }

  const CudaContext& context_;
  std::int64_t count_;
  const Parameter& weights_;
  std::size_t first_;
  bool rectified_;
  std::int64_t outputs_;
  std::int64_t inputs_;
  Bias bias_;
  ActivationDescriptor relu_;
  std::shared_ptr<float> result_;
  std::shared_ptr<float> source_gradient_;
  const float* input_ = nullptr;  ///< of the last forward()
};

}  // namespace

std::unique_ptr<CudaLayer> make_dense(const CudaContext& context, std::int64_t count,
                                      const std::vector<Parameter>& parameters, std::size_t first,
                                      bool rectified) {
  return std::make_unique<Dense>(context, count, parameters, first, rectified);
}

}  // namespace train_mnist

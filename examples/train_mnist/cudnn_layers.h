// SPDX-License-Identifier: Apache-2.0
//
// The layers of the network on a GPU, each for one batch size, with memory for its result. All
// calls enqueue work in the stream of the handles.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "cuda_handles.h"
#include "network.h"

namespace train_mnist {

/// A stream, and the libraries that compute in it.
struct CudaContext {
  CudaContext() {
    check(cudnnSetStream(dnn.get(), stream.get()), "cudnnSetStream");
    check(cublasSetStream(blas.get(), stream.get()), "cublasSetStream");
  }
  CudaStream stream;
  Cudnn dnn;
  Cublas blas;
};

using Ready = std::function<void(std::size_t)>;

class CudaLayer {
 public:
  virtual ~CudaLayer() = default;

  /// The result, which is overwritten by the next call.
  virtual float* forward(const float* source) = 0;

  /// Takes the gradient of the result, which it may overwrite, and returns that of the source; null
  /// for the first layer, whose source is the images. `ready` gets the indices of the parameters
  /// whose gradients are complete once the stream has reached this point.
  virtual float* backward(float* gradient, const Ready& ready) = 0;
};

/// Square images of several channels.
struct ImageShape {
  std::int64_t count;
  std::int64_t channels;
  std::int64_t side;
};

/// The weights and bias of a layer are parameters `first` and `first + 1`. They and the context
/// must outlive the layer.
std::unique_ptr<CudaLayer> make_convolution(const CudaContext& context, const ImageShape& source,
                                            const ImageShape& result,
                                            const std::vector<Parameter>& parameters,
                                            std::size_t first);
std::unique_ptr<CudaLayer> make_dense(const CudaContext& context, std::int64_t count,
                                      const std::vector<Parameter>& parameters, std::size_t first,
                                      bool rectified);

/// The maximum of each 2x2 block, rectified.
std::unique_ptr<CudaLayer> make_max_pool_relu(const CudaContext& context, const ImageShape& source);

}  // namespace train_mnist

// SPDX-License-Identifier: Apache-2.0
//
// The functions of cuDNN that train_mnist calls, as plain loops.
#include "cudnn_handles.h"

#include <algorithm>
#include <cstddef>
#include <cstring>

using namespace sim_gpu;

namespace {

// By what is computed; odd, so that nobody takes them for granted.
constexpr std::size_t kForwardBytes = 100;
constexpr std::size_t kFilterBytes = 300;
constexpr std::size_t kDataBytes = 0;

/// Of at least so many bytes, which are overwritten.
void use_workspace(cudnnHandle_t handle, void* workspace, std::size_t bytes, std::size_t wanted) {
  require(bytes >= wanted, "a workspace");
  if (bytes == 0) return;
  require(is_device_memory(workspace, bytes), "a workspace on the device");
  (void)push(handle, [=] { std::memset(workspace, 0xff, bytes); });
}

/// Calls for every output element and every input element that it takes, with their indices in x, w
/// and y.
template <typename Visit>
void convolve(const Shape& x, const Shape& w, const Shape& y, const Visit& visit) {
  require(x.n == y.n && x.c == w.c && y.c == w.n && y.h == x.h - w.h + 1 && y.w == x.w - w.w + 1,
          "shapes of a convolution");
  for (int i = 0; i < y.n; ++i) {
    for (int out = 0; out < y.c; ++out) {
      for (int in = 0; in < x.c; ++in) {
        for (int row = 0; row < w.h; ++row) {
          for (int column = 0; column < w.w; ++column) {
            const int weight = w.at(out, in, row, column);
            for (int h = 0; h < y.h; ++h) {
              const int from = x.at(i, in, h + row, column);
              const int to = y.at(i, out, h, 0);
              for (int v = 0; v < y.w; ++v) visit(from + v, weight, to + v);
            }
          }
        }
      }
    }
  }
}

/// Calls with every element of the pooled image and that of the source which is its maximum.
template <typename Visit>
void pool(const Shape& x, const Shape& y, const float* source, const Visit& visit) {
  require(x.n == y.n && x.c == y.c && x.h == 2 * y.h && x.w == 2 * y.w, "shapes of a pooling");
  for (int i = 0; i < y.n * y.c; ++i) {
    for (int h = 0; h < y.h; ++h) {
      for (int w = 0; w < y.w; ++w) {
        const int first = (i * x.h + 2 * h) * x.w + 2 * w;
        int best = first;
        for (const int other : {first + 1, first + x.w, first + x.w + 1}) {
          if (source[other] > source[best]) best = other;
        }
        visit((i * y.h + h) * y.w + w, best);
      }
    }
  }
}

}  // namespace

extern "C" {

const char* cudnnGetErrorString(cudnnStatus_t) { return "an error of the simulated cuDNN"; }
cudnnStatus_t cudnnCreate(cudnnHandle_t* handle) {
  *handle = new cudnnContext;
  return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnDestroy(cudnnHandle_t handle) {
  delete handle;
  return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnSetStream(cudnnHandle_t handle, cudaStream_t stream) {
  handle->stream = stream;
  return CUDNN_STATUS_SUCCESS;
}

#define SIM_DESCRIPTOR(Name)                                                           \
  cudnnStatus_t cudnnCreate##Name##Descriptor(cudnn##Name##Descriptor_t* descriptor) { \
    *descriptor = new cudnn##Name##Struct;                                             \
    return CUDNN_STATUS_SUCCESS;                                                       \
  }                                                                                    \
  cudnnStatus_t cudnnDestroy##Name##Descriptor(cudnn##Name##Descriptor_t descriptor) { \
    delete descriptor;                                                                 \
    return CUDNN_STATUS_SUCCESS;                                                       \
  }
SIM_DESCRIPTOR(Tensor)
SIM_DESCRIPTOR(Filter)
SIM_DESCRIPTOR(Convolution)
SIM_DESCRIPTOR(Pooling)
SIM_DESCRIPTOR(Activation)

cudnnStatus_t cudnnSetTensor4dDescriptor(cudnnTensorDescriptor_t tensor, cudnnTensorFormat_t format,
                                         cudnnDataType_t type, int n, int c, int h, int w) {
  require(format == CUDNN_TENSOR_NCHW && type == CUDNN_DATA_FLOAT, "tensors of float, NCHW");
  static_cast<Shape&>(*tensor) = {n, c, h, w};
  return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnSetFilter4dDescriptor(cudnnFilterDescriptor_t filter, cudnnDataType_t type,
                                         cudnnTensorFormat_t format, int k, int c, int h, int w) {
  require(format == CUDNN_TENSOR_NCHW && type == CUDNN_DATA_FLOAT, "filters of float, NCHW");
  static_cast<Shape&>(*filter) = {k, c, h, w};
  return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnSetConvolution2dDescriptor(cudnnConvolutionDescriptor_t, int pad_h, int pad_w,
                                              int stride_h, int stride_w, int dilation_h,
                                              int dilation_w, cudnnConvolutionMode_t mode,
                                              cudnnDataType_t) {
  require(pad_h == 0 && pad_w == 0 && stride_h == 1 && stride_w == 1 && dilation_h == 1 &&
              dilation_w == 1 && mode == CUDNN_CROSS_CORRELATION,
          "plain convolutions");
  return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnSetConvolutionMathType(cudnnConvolutionDescriptor_t, cudnnMathType_t type) {
  require(type == CUDNN_FMA_MATH, "f32 as the processor computes it");
  return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnSetPooling2dDescriptor(cudnnPoolingDescriptor_t, cudnnPoolingMode_t mode,
                                          cudnnNanPropagation_t, int window_h, int window_w,
                                          int pad_h, int pad_w, int stride_h, int stride_w) {
  require(mode == CUDNN_POOLING_MAX_DETERMINISTIC && window_h == 2 && window_w == 2 && pad_h == 0 &&
              pad_w == 0 && stride_h == 2 && stride_w == 2,
          "maxima of 2x2");
  return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnSetActivationDescriptor(cudnnActivationDescriptor_t, cudnnActivationMode_t mode,
                                           cudnnNanPropagation_t, double) {
  require(mode == CUDNN_ACTIVATION_RELU, "the activation is ReLU");
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnGetConvolutionForwardWorkspaceSize(
    cudnnHandle_t, cudnnTensorDescriptor_t, cudnnFilterDescriptor_t, cudnnConvolutionDescriptor_t,
    cudnnTensorDescriptor_t, cudnnConvolutionFwdAlgo_t, std::size_t* bytes) {
  *bytes = kForwardBytes;
  return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnGetConvolutionBackwardFilterWorkspaceSize(
    cudnnHandle_t, cudnnTensorDescriptor_t, cudnnTensorDescriptor_t, cudnnConvolutionDescriptor_t,
    cudnnFilterDescriptor_t, cudnnConvolutionBwdFilterAlgo_t, std::size_t* bytes) {
  *bytes = kFilterBytes;
  return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnGetConvolutionBackwardDataWorkspaceSize(
    cudnnHandle_t, cudnnFilterDescriptor_t, cudnnTensorDescriptor_t, cudnnConvolutionDescriptor_t,
    cudnnTensorDescriptor_t, cudnnConvolutionBwdDataAlgo_t, std::size_t* bytes) {
  *bytes = kDataBytes;
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnConvolutionForward(cudnnHandle_t handle, const void* alpha,
                                      cudnnTensorDescriptor_t x_shape, const void* x,
                                      cudnnFilterDescriptor_t w_shape, const void* w,
                                      cudnnConvolutionDescriptor_t, cudnnConvolutionFwdAlgo_t,
                                      void* workspace, std::size_t bytes, const void* beta,
                                      cudnnTensorDescriptor_t y_shape, void* y) {
  require_plain(alpha, beta);
  use_workspace(handle, workspace, bytes, kForwardBytes);
  return push(handle, [=, xs = *x_shape, ws = *w_shape, ys = *y_shape, from = read(x),
                       weights = read(w), to = write(y)] {
    std::fill(to, to + ys.count(), 0.F);
    convolve(xs, ws, ys, [&](int i, int k, int o) { to[o] += from[i] * weights[k]; });
  });
}
cudnnStatus_t cudnnConvolutionBackwardFilter(cudnnHandle_t handle, const void* alpha,
                                             cudnnTensorDescriptor_t x_shape, const void* x,
                                             cudnnTensorDescriptor_t y_shape, const void* dy,
                                             cudnnConvolutionDescriptor_t,
                                             cudnnConvolutionBwdFilterAlgo_t, void* workspace,
                                             std::size_t bytes, const void* beta,
                                             cudnnFilterDescriptor_t w_shape, void* dw) {
  require_plain(alpha, beta);
  use_workspace(handle, workspace, bytes, kFilterBytes);
  return push(handle, [=, xs = *x_shape, ws = *w_shape, ys = *y_shape, from = read(x),
                       gradient = read(dy), to = write(dw)] {
    std::fill(to, to + ws.count(), 0.F);
    convolve(xs, ws, ys, [&](int i, int k, int o) { to[k] += from[i] * gradient[o]; });
  });
}
cudnnStatus_t cudnnConvolutionBackwardData(cudnnHandle_t handle, const void* alpha,
                                           cudnnFilterDescriptor_t w_shape, const void* w,
                                           cudnnTensorDescriptor_t y_shape, const void* dy,
                                           cudnnConvolutionDescriptor_t,
                                           cudnnConvolutionBwdDataAlgo_t, void* workspace,
                                           std::size_t bytes, const void* beta,
                                           cudnnTensorDescriptor_t x_shape, void* dx) {
  require_plain(alpha, beta);
  use_workspace(handle, workspace, bytes, kDataBytes);
  return push(handle, [=, xs = *x_shape, ws = *w_shape, ys = *y_shape, weights = read(w),
                       gradient = read(dy), to = write(dx)] {
    std::fill(to, to + xs.count(), 0.F);
    convolve(xs, ws, ys, [&](int i, int k, int o) { to[i] += weights[k] * gradient[o]; });
  });
}

/// One value per channel.
cudnnStatus_t cudnnAddTensor(cudnnHandle_t handle, const void*, cudnnTensorDescriptor_t bias,
                             const void* a, const void* beta, cudnnTensorDescriptor_t shape,
                             void* c) {
  require(scalar(beta) == 1 && bias->count() == shape->c, "a bias is added");
  return push(handle, [ys = *shape, from = read(a), to = write(c)] {
    const int pixels = ys.h * ys.w;
    for (int i = 0; i < ys.count(); ++i) to[i] += from[i / pixels % ys.c];
  });
}
cudnnStatus_t cudnnConvolutionBackwardBias(cudnnHandle_t handle, const void* alpha,
                                           cudnnTensorDescriptor_t shape, const void* dy,
                                           const void* beta, cudnnTensorDescriptor_t bias,
                                           void* db) {
  require_plain(alpha, beta);
  require(bias->count() == shape->c, "shapes of a bias");
  return push(handle, [ys = *shape, gradient = read(dy), to = write(db)] {
    std::fill(to, to + ys.c, 0.F);
    const int pixels = ys.h * ys.w;
    for (int i = 0; i < ys.count(); ++i) to[i / pixels % ys.c] += gradient[i];
  });
}

cudnnStatus_t cudnnPoolingForward(cudnnHandle_t handle, cudnnPoolingDescriptor_t, const void* alpha,
                                  cudnnTensorDescriptor_t x_shape, const void* x, const void* beta,
                                  cudnnTensorDescriptor_t y_shape, void* y) {
  require_plain(alpha, beta);
  return push(handle, [xs = *x_shape, ys = *y_shape, from = read(x), to = write(y)] {
    pool(xs, ys, from, [&](int o, int i) { to[o] = from[i]; });
  });
}
cudnnStatus_t cudnnPoolingBackward(cudnnHandle_t handle, cudnnPoolingDescriptor_t,
                                   const void* alpha, cudnnTensorDescriptor_t y_shape,
                                   const void* y, cudnnTensorDescriptor_t, const void* dy,
                                   cudnnTensorDescriptor_t x_shape, const void* x, const void* beta,
                                   cudnnTensorDescriptor_t, void* dx) {
  require_plain(alpha, beta);
  return push(handle, [xs = *x_shape, ys = *y_shape, from = read(x), maxima = read(y),
                       gradient = read(dy), to = write(dx)] {
    std::fill(to, to + xs.count(), 0.F);
    pool(xs, ys, from, [&](int o, int i) {
      require(maxima[o] == from[i], "y is what the forward pass made of x");
      to[i] += gradient[o];
    });
  });
}

}  // extern "C"

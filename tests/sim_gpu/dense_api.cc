// SPDX-License-Identifier: Apache-2.0
//
// The functions of cuDNN and cuBLAS that dense layers call.
#include "cudnn_handles.h"

#include <algorithm>
#include <cmath>

using namespace sim_gpu;

extern "C" {

cudnnStatus_t cudnnActivationForward(cudnnHandle_t handle, cudnnActivationDescriptor_t,
                                     const void* alpha, cudnnTensorDescriptor_t shape,
                                     const void* x, const void* beta, cudnnTensorDescriptor_t,
                                     void* y) {
  require_plain(alpha, beta);
  return push(handle, [count = shape->count(), from = read(x), to = write(y)] {
    for (int i = 0; i < count; ++i) to[i] = std::max(from[i], 0.F);
  });
}
cudnnStatus_t cudnnActivationBackward(cudnnHandle_t handle, cudnnActivationDescriptor_t,
                                      const void* alpha, cudnnTensorDescriptor_t shape, const void*,
                                      cudnnTensorDescriptor_t, const void* dy,
                                      cudnnTensorDescriptor_t, const void* x, const void* beta,
                                      cudnnTensorDescriptor_t, void* dx) {
  require_plain(alpha, beta);
  return push(handle,
              [count = shape->count(), from = read(x), gradient = read(dy), to = write(dx)] {
                for (int i = 0; i < count; ++i) to[i] = from[i] > 0 ? gradient[i] : 0.F;
              });
}

cudnnStatus_t cudnnSoftmaxForward(cudnnHandle_t handle, cudnnSoftmaxAlgorithm_t algorithm,
                                  cudnnSoftmaxMode_t mode, const void* alpha,
                                  cudnnTensorDescriptor_t shape, const void* x, const void* beta,
                                  cudnnTensorDescriptor_t, void* y) {
  require_plain(alpha, beta);
  require(algorithm == CUDNN_SOFTMAX_LOG && mode == CUDNN_SOFTMAX_MODE_INSTANCE,
          "logarithms of softmax");
  return push(
      handle, [n = shape->n, classes = shape->count() / shape->n, from = read(x), to = write(y)] {
        for (int i = 0; i < n; ++i) {
          const float* const row = from + i * classes;
          const float highest = *std::max_element(row, row + classes);
          double sum = 0;
          for (int c = 0; c < classes; ++c) sum += std::exp(double{row[c]} - highest);
          for (int c = 0; c < classes; ++c) {
            to[i * classes + c] = static_cast<float>(double{row[c]} - highest - std::log(sum));
          }
        }
      });
}

const char* cublasGetStatusString(cublasStatus_t) { return "an error of the simulated cuBLAS"; }
cublasStatus_t cublasCreate_v2(cublasHandle_t* handle) {
  *handle = new cublasContext;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasDestroy_v2(cublasHandle_t handle) {
  delete handle;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasSetStream_v2(cublasHandle_t handle, cudaStream_t stream) {
  handle->stream = stream;
  return CUBLAS_STATUS_SUCCESS;
}

/// Matrices by columns.
cublasStatus_t cublasSgemm_v2(cublasHandle_t handle, cublasOperation_t a_transposed,
                              cublasOperation_t b_transposed, int m, int n, int k,
                              const float* alpha, const float* a, int lda, const float* b, int ldb,
                              const float* beta, float* c, int ldc) {
  require_plain(alpha, beta);
  const bool at = a_transposed != CUBLAS_OP_N;
  const bool bt = b_transposed != CUBLAS_OP_N;
  for (const float* const matrix : {a, b, static_cast<const float*>(c)}) (void)read(matrix);
  require(lda >= (at ? k : m) && ldb >= (bt ? n : k) && ldc >= m, "leading dimensions");
  Stream::of(handle->stream)->push([=] {
    for (int column = 0; column < n; ++column) {
      for (int row = 0; row < m; ++row) {
        float sum = 0;
        for (int i = 0; i < k; ++i) {
          sum += (at ? a[row * lda + i] : a[i * lda + row]) *
                 (bt ? b[i * ldb + column] : b[column * ldb + i]);
        }
        c[column * ldc + row] = sum;
      }
    }
  });
  return CUBLAS_STATUS_SUCCESS;
}

}  // extern "C"

// SPDX-License-Identifier: Apache-2.0
//
// One spelling for oneDNN 2 and 3. Version 3 removed the operation descriptors between a
// primitive's arguments and its primitive descriptor, and changed the arguments of pooling and
// elementwise primitives. All differences between the versions are handled in this file.
//
//   auto descriptor = compat::describe<dnnl::convolution_forward>(engine, arguments...);
#pragma once

#include <oneapi/dnnl/dnnl_version.h>
#include <oneapi/dnnl/dnnl.hpp>

namespace train_mnist::compat {

#if DNNL_VERSION_MAJOR >= 3
using PoolForward = dnnl::pooling_forward;
using PoolBackward = dnnl::pooling_backward;
#else
// The variant that takes a dilation, as version 3's only one does.
using PoolForward = dnnl::pooling_v2_forward;
using PoolBackward = dnnl::pooling_v2_backward;
#endif

/// The primitive descriptor of a forward primitive.
template <typename Primitive, typename... Arguments>
typename Primitive::primitive_desc describe(const dnnl::engine& engine,
                                            const Arguments&... arguments) {
#if DNNL_VERSION_MAJOR >= 3
  return typename Primitive::primitive_desc(engine, arguments...);
#else
  return typename Primitive::primitive_desc(typename Primitive::desc(arguments...), engine);
#endif
}

/// The same for a backward primitive; `forward` is the forward one's descriptor.
template <typename Primitive, typename Forward, typename... Arguments>
typename Primitive::primitive_desc describe_backward(const dnnl::engine& engine,
                                                     const Forward& forward,
                                                     const Arguments&... arguments) {
#if DNNL_VERSION_MAJOR >= 3
  return typename Primitive::primitive_desc(engine, arguments..., forward);
#else
  return
      typename Primitive::primitive_desc(typename Primitive::desc(arguments...), engine, forward);
#endif
}

inline dnnl::memory::dims dims_of(const dnnl::memory::desc& layout) {
#if DNNL_VERSION_MAJOR >= 3
  return layout.get_dims();
#else
  return layout.dims();
#endif
}

/// max(0, x) in place.
inline dnnl::eltwise_forward::primitive_desc describe_relu(const dnnl::engine& engine,
                                                           const dnnl::memory::desc& data) {
  constexpr auto kKind = dnnl::prop_kind::forward_training;
  constexpr auto kRelu = dnnl::algorithm::eltwise_relu_use_dst_for_bwd;
#if DNNL_VERSION_MAJOR >= 3
  return dnnl::eltwise_forward::primitive_desc(engine, kKind, kRelu, data, data, 0.0F);
#else
  return describe<dnnl::eltwise_forward>(engine, kKind, kRelu, data, 0.0F);
#endif
}

/// Its derivative, computed in place from the result of the forward pass.
inline dnnl::eltwise_backward::primitive_desc describe_relu_backward(
    const dnnl::engine& engine, const dnnl::eltwise_forward::primitive_desc& forward,
    const dnnl::memory::desc& gradient, const dnnl::memory::desc& result) {
  constexpr auto kRelu = dnnl::algorithm::eltwise_relu_use_dst_for_bwd;
#if DNNL_VERSION_MAJOR >= 3
  return dnnl::eltwise_backward::primitive_desc(engine, kRelu, gradient, gradient, result, 0.0F,
                                                forward);
#else
  return describe_backward<dnnl::eltwise_backward>(engine, forward, kRelu, gradient, result, 0.0F);
#endif
}

}  // namespace train_mnist::compat

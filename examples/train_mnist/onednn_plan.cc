// SPDX-License-Identifier: Apache-2.0
#include "onednn_plan.h"

#include <functional>
#include <utility>

#include "dnnl_compat.h"

namespace train_mnist {
namespace {

using dnnl::memory;

constexpr auto kTraining = dnnl::prop_kind::forward_training;
constexpr auto kDirect = dnnl::algorithm::convolution_direct;
constexpr auto kMax = dnnl::algorithm::pooling_max;
const memory::dims kUnitStride = {1, 1};
const memory::dims kNoPadding = {0, 0};
const memory::dims kPoolWindow = {2, 2};

memory::desc plain(const memory::dims& dims) {
  using Tag = memory::format_tag;
  const Tag tag = dims.size() == 1 ? Tag::a : dims.size() == 2 ? Tag::ab : Tag::abcd;
  return {dims, memory::data_type::f32, tag};
}

/// Leaves the layout to oneDNN.
memory::desc any(const memory::dims& dims) {
  return {dims, memory::data_type::f32, memory::format_tag::any};
}

/// The two layers that have weights, as one interface.
struct Convolution {
  using Forward = dnnl::convolution_forward;
  using BackwardData = dnnl::convolution_backward_data;
  using BackwardWeights = dnnl::convolution_backward_weights;
  using Descriptor = Forward::primitive_desc;

  static Descriptor forward(const dnnl::engine& engine, const memory::desc& source,
                            const memory::desc& weights, const memory::desc& bias,
                            const memory::desc& result) {
    return compat::describe<Forward>(engine, kTraining, kDirect, source, weights, bias, result,
                                     kUnitStride, kNoPadding, kNoPadding);
  }
  static auto backward_data(const dnnl::engine& engine, const Descriptor& forward,
                            const memory::desc& source, const memory::desc& weights,
                            const memory::desc& result) {
    return compat::describe_backward<BackwardData>(engine, forward, kDirect, source, weights,
                                                   result, kUnitStride, kNoPadding, kNoPadding);
  }
  static auto backward_weights(const dnnl::engine& engine, const Descriptor& forward,
                               const memory::desc& source, const memory::desc& weights,
                               const memory::desc& result) {
    return compat::describe_backward<BackwardWeights>(engine, forward, kDirect, source, weights,
                                                      forward.bias_desc(), result, kUnitStride,
                                                      kNoPadding, kNoPadding);
  }
};

struct Dense {
  using Forward = dnnl::inner_product_forward;
  using BackwardData = dnnl::inner_product_backward_data;
  using BackwardWeights = dnnl::inner_product_backward_weights;
  using Descriptor = Forward::primitive_desc;

  static Descriptor forward(const dnnl::engine& engine, const memory::desc& source,
                            const memory::desc& weights, const memory::desc& bias,
                            const memory::desc& result) {
    return compat::describe<Forward>(engine, kTraining, source, weights, bias, result);
  }
  static auto backward_data(const dnnl::engine& engine, const Descriptor& forward,
                            const memory::desc& source, const memory::desc& weights,
                            const memory::desc& result) {
    return compat::describe_backward<BackwardData>(engine, forward, source, weights, result);
  }
  static auto backward_weights(const dnnl::engine& engine, const Descriptor& forward,
                               const memory::desc& source, const memory::desc& weights,
                               const memory::desc& result) {
    return compat::describe_backward<BackwardWeights>(engine, forward, source, weights,
                                                      forward.bias_desc(), result);
  }
};

/// Adds layer after layer to the forward pass. Each also leaves a function that adds its part of
/// the backward pass; finish() calls them last layer first.
class PlanBuilder {
 public:
  PlanBuilder(const dnnl::engine& engine, const std::vector<Parameter>& parameters)
      : engine_(engine), parameters_(parameters) {}

  /// `first` is the index of the weights; the bias follows them. `weights_dims` may view the
  /// parameter with other extents of the same product.
  template <typename Layer>
  memory linear(const memory& source, std::size_t first, const memory::dims& weights_dims,
                const memory::dims& result_dims);
  memory max_pool(const memory& source, const memory::dims& result_dims);
  memory relu(const memory& data);
  Plan finish(const memory& images, const memory& logits);

 private:
  template <typename Layer>
  memory linear_backward(const typename Layer::Descriptor& forward, const memory& source,
                         std::size_t first, const memory::dims& weights_dims,
                         const memory& gradient);

  memory wrap(const ringleader::TensorView& view, const memory::dims& dims) {
    return {plain(dims), engine_, view.data()};
  }
  memory converted(const memory& from, const memory::desc& layout, std::vector<Step>& steps) {
    if (from.get_desc() == layout) return from;
    memory to(layout, engine_);
    reorder(from, to, steps);
    return to;
  }
  static void reorder(const memory& from, const memory& to, std::vector<Step>& steps) {
    steps.push_back({dnnl::reorder(from, to), {{DNNL_ARG_FROM, from}, {DNNL_ARG_TO, to}}});
  }

  const dnnl::engine& engine_;
  const std::vector<Parameter>& parameters_;
  Plan plan_;

  /// Takes the gradient of a layer's result and returns that of its source; empty memory for the
  /// first layer, whose source is the images.
  std::vector<std::function<memory(const memory&)>> backward_;
};

template <typename Layer>
memory PlanBuilder::linear(const memory& source, std::size_t first,
                           const memory::dims& weights_dims, const memory::dims& result_dims) {
  const memory bias = wrap(parameters_[first + 1].value, {weights_dims[0]});
  // The source's layout is left open. The layout that the previous layer prefers to write may be
  // one that oneDNN can read only with its reference kernel, a thousand times slower than with a
  // reorder in between.
  const auto forward = Layer::forward(engine_, any(compat::dims_of(source.get_desc())),
                                      any(weights_dims), bias.get_desc(), any(result_dims));
  const memory input = converted(source, forward.src_desc(), plan_.forward);
  const memory weights = converted(wrap(parameters_[first].value, weights_dims),
                                   forward.weights_desc(), plan_.forward);
  const memory result(forward.dst_desc(), engine_);
  plan_.forward.push_back({typename Layer::Forward(forward),
                           {{DNNL_ARG_SRC, input},
                            {DNNL_ARG_WEIGHTS, weights},
                            {DNNL_ARG_BIAS, bias},
                            {DNNL_ARG_DST, result}}});
  backward_.push_back([=, this](const memory& gradient) {
    return linear_backward<Layer>(forward, input, first, weights_dims, gradient);
  });
  return result;
}

template <typename Layer>
memory PlanBuilder::linear_backward(const typename Layer::Descriptor& forward, const memory& source,
                                    std::size_t first, const memory::dims& weights_dims,
                                    const memory& gradient) {
  // The weights' gradient comes before the source's, so that its reduction over the ranks starts
  // as early as possible.
  std::vector<Step>& steps = plan_.backward;
  const memory::dims source_dims = compat::dims_of(source.get_desc());
  const memory::dims result_dims = compat::dims_of(gradient.get_desc());
  const auto by_weights = Layer::backward_weights(engine_, forward, any(source_dims),
                                                  any(weights_dims), any(result_dims));
  const memory plain_weights = wrap(parameters_[first].gradient, weights_dims);
  const bool direct = by_weights.diff_weights_desc() == plain_weights.get_desc();
  const memory weights = direct ? plain_weights : memory(by_weights.diff_weights_desc(), engine_);
  steps.push_back(
      {typename Layer::BackwardWeights(by_weights),
       {{DNNL_ARG_SRC, converted(source, by_weights.src_desc(), steps)},
        {DNNL_ARG_DIFF_DST, converted(gradient, by_weights.diff_dst_desc(), steps)},
        {DNNL_ARG_DIFF_WEIGHTS, weights},
        {DNNL_ARG_DIFF_BIAS, wrap(parameters_[first + 1].gradient, {weights_dims[0]})}}});
  if (!direct) reorder(weights, plain_weights, steps);
  steps.back().completes = {first + 1, first};
  if (first == 0) return {};

  const auto by_source =
      Layer::backward_data(engine_, forward, any(source_dims), any(weights_dims), any(result_dims));
  const memory values =
      converted(wrap(parameters_[first].value, weights_dims), by_source.weights_desc(), steps);
  const memory source_gradient(by_source.diff_src_desc(), engine_);
  steps.push_back({typename Layer::BackwardData(by_source),
                   {{DNNL_ARG_DIFF_DST, converted(gradient, by_source.diff_dst_desc(), steps)},
                    {DNNL_ARG_WEIGHTS, values},
                    {DNNL_ARG_DIFF_SRC, source_gradient}}});
  return source_gradient;
}

memory PlanBuilder::max_pool(const memory& source, const memory::dims& result_dims) {
  const auto forward = compat::describe<compat::PoolForward>(
      engine_, kTraining, kMax, source.get_desc(), any(result_dims), kPoolWindow, kPoolWindow,
      kNoPadding, kNoPadding, kNoPadding);
  const memory result(forward.dst_desc(), engine_);
  const memory winners(forward.workspace_desc(), engine_);
  plan_.forward.push_back(
      {compat::PoolForward(forward),
       {{DNNL_ARG_SRC, source}, {DNNL_ARG_DST, result}, {DNNL_ARG_WORKSPACE, winners}}});
  backward_.push_back([=, this](const memory& of_result) {
    const memory gradient = converted(of_result, result.get_desc(), plan_.backward);
    const auto backward = compat::describe_backward<compat::PoolBackward>(
        engine_, forward, kMax, source.get_desc(), gradient.get_desc(), kPoolWindow, kPoolWindow,
        kNoPadding, kNoPadding, kNoPadding);
    const memory source_gradient(backward.diff_src_desc(), engine_);
    plan_.backward.push_back({compat::PoolBackward(backward),
                              {{DNNL_ARG_DIFF_DST, gradient},
                               {DNNL_ARG_DIFF_SRC, source_gradient},
                               {DNNL_ARG_WORKSPACE, winners}}});
    return source_gradient;
  });
  return result;
}

memory PlanBuilder::relu(const memory& data) {
  const auto forward = compat::describe_relu(engine_, data.get_desc());
  plan_.forward.push_back(
      {dnnl::eltwise_forward(forward), {{DNNL_ARG_SRC, data}, {DNNL_ARG_DST, data}}});
  backward_.push_back([=, this](const memory& of_result) {
    const memory gradient = converted(of_result, data.get_desc(), plan_.backward);
    const auto backward =
        compat::describe_relu_backward(engine_, forward, gradient.get_desc(), data.get_desc());
    plan_.backward.push_back(
        {dnnl::eltwise_backward(backward),
         {{DNNL_ARG_DST, data}, {DNNL_ARG_DIFF_DST, gradient}, {DNNL_ARG_DIFF_SRC, gradient}}});
    return gradient;
  });
  return data;
}

Plan PlanBuilder::finish(const memory& images, const memory& logits) {
  plan_.images = images;
  plan_.logits = converted(logits, plain(compat::dims_of(logits.get_desc())), plan_.forward);
  plan_.logits_gradient = memory(plan_.logits.get_desc(), engine_);
  memory gradient = plan_.logits_gradient;
  for (auto layer = backward_.rbegin(); layer != backward_.rend(); ++layer) {
    gradient = (*layer)(gradient);
  }
  return std::move(plan_);
}

}  // namespace

Plan make_plan(const dnnl::engine& engine, std::int64_t count,
               const std::vector<Parameter>& parameters) {
  const std::int64_t channels1 = parameters[0].value.shape()[0];
  const std::int64_t channels2 = parameters[2].value.shape()[0];
  const std::int64_t hidden = parameters[4].value.shape()[0];
  PlanBuilder builder(engine, parameters);
  const memory images(plain({count, 1, kImageSide, kImageSide}), engine);

  // The maximum of rectified values is the rectified maximum: rectifying after pooling gives the
  // same function for a quarter of the work.
  memory data =
      builder.linear<Convolution>(images, 0, {channels1, 1, 5, 5}, {count, channels1, 24, 24});
  data = builder.relu(builder.max_pool(data, {count, channels1, 12, 12}));
  data =
      builder.linear<Convolution>(data, 2, {channels2, channels1, 5, 5}, {count, channels2, 8, 8});
  data = builder.relu(builder.max_pool(data, {count, channels2, 4, 4}));
  data = builder.relu(builder.linear<Dense>(data, 4, {hidden, channels2, 4, 4}, {count, hidden}));
  data = builder.linear<Dense>(data, 6, {kClasses, hidden}, {count, kClasses});
  return builder.finish(images, data);
}

}  // namespace train_mnist

// SPDX-License-Identifier: Apache-2.0
//
// SyncBatchNorm: LibTorch's batch normalization over the samples of all ranks, for 2 to 5
// dimensions, [samples, channels, ...]. Parameters and buffers are those of BatchNorm, so saved
// modules can be loaded into either.
//
//   ringleader::SyncBatchNorm norm(torch::nn::BatchNormOptions(64).momentum(0.1));
//
// All ranks must create their layers in the same order, run forward() and backward() of them in the
// same order, and have at least one sample. Because the gradient of a rank's loss depends on the
// others' samples, the loss must be a mean over the same number of samples on all ranks.
#pragma once

#include <ringleader/ops/adapters/torch.h>
#include <ringleader/ops/batch_moments.h>

#include <torch/torch.h>

#include <atomic>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace ringleader {
namespace torch_adapter {

/// All dimensions except that of the channels.
inline std::vector<std::int64_t> sample_dims(const torch::Tensor& x) {
  std::vector<std::int64_t> dims = {0};
  for (std::int64_t d = 2; d < x.dim(); ++d) dims.push_back(d);
  return dims;
}

/// One value per channel, in a shape that broadcasts over x.
inline torch::Tensor per_channel(const torch::Tensor& values, const torch::Tensor& x) {
  std::vector<std::int64_t> shape(static_cast<std::size_t>(x.dim()), 1);
  shape[1] = x.size(1);
  return values.to(x.dtype()).view(shape);
}

inline BatchMoments moments_of(const torch::Tensor& x) {
  const torch::Tensor wide = x.detach().to(torch::kFloat64);
  const auto [variances, means] = torch::var_mean(wide, sample_dims(x), /*unbiased=*/false);
  const auto list = [](const torch::Tensor& t) {
    const torch::Tensor dense = t.contiguous();
    return std::vector<double>(dense.data_ptr<double>(), dense.data_ptr<double>() + dense.numel());
  };
  return {x.numel() / x.size(1), list(means), list(variances)};
}

/// (x - mean) / deviation, where both depend on all ranks' samples.
struct Normalize : torch::autograd::Function<Normalize> {
  static torch::Tensor forward(torch::autograd::AutogradContext* context, const torch::Tensor& x,
                               const torch::Tensor& means, const torch::Tensor& inverse_deviations,
                               std::int64_t count, const std::string& name) {
    const torch::Tensor scale = per_channel(inverse_deviations, x);
    torch::Tensor y = (x - per_channel(means, x)) * scale;
    context->save_for_backward({y, scale});
    context->saved_data["count"] = count;
    context->saved_data["name"] = name;
    return y;
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 torch::autograd::variable_list gradients) {
    const auto saved = context->get_saved_variables();
    const torch::Tensor& y = saved[0];
    const torch::Tensor& dy = gradients[0];
    const auto dims = sample_dims(y);
    // Sums over all ranks' samples: of the gradients, and of their products with y.
    const torch::Tensor sums = torch::stack(
        {dy.sum(dims, false, torch::kFloat64), (dy * y).sum(dims, false, torch::kFloat64)});
    const std::string name = context->saved_data["name"].toStringRef();
    allreduce(name, view_of(sums, name), ReduceOp::sum);
    const auto means = sums / context->saved_data["count"].toInt();
    const torch::Tensor dx =
        (dy - per_channel(means[0], y) - y * per_channel(means[1], y)) * saved[1];
    return {dx, {}, {}, {}, {}};
  }
};

}  // namespace torch_adapter

/// Batch normalization over the samples of all ranks, as a module.
class SyncBatchNormImpl
    : public torch::nn::NormImplBase<0, SyncBatchNormImpl, torch::nn::BatchNormOptions> {
 public:
  /// The module it replaces.
  using Base = torch::nn::NormImplBase<0, SyncBatchNormImpl, torch::nn::BatchNormOptions>;
  /// chosen: as for torch::nn::BatchNorm.
  explicit SyncBatchNormImpl(const torch::nn::BatchNormOptions& chosen)
      : Base(chosen), name_("sync_batch_norm/" + std::to_string(next_number())) {}

  /// Collective and blocking while training.
  torch::Tensor forward(const torch::Tensor& x) {
    _check_input_dim(x);
    if (!this->is_training() && this->options.track_running_stats()) {
      return torch::batch_norm(x, this->weight, this->bias, this->running_mean, this->running_var,
                               /*training=*/false, 0.0, this->options.eps(), false);
    }
    const BatchMoments all = combine_moments(name_, torch_adapter::moments_of(x));
    const torch::Tensor means = torch::tensor(all.means, torch::kFloat64);
    const torch::Tensor variances = torch::tensor(all.variances, torch::kFloat64);
    if (this->options.track_running_stats()) keep(all.count, means, variances);
    const torch::Tensor y = torch_adapter::Normalize::apply(
        x, means, (variances + this->options.eps()).rsqrt(), all.count, name_ + "/backward");
    if (!this->options.affine()) return y;
    return y * torch_adapter::per_channel(this->weight, x) +
           torch_adapter::per_channel(this->bias, x);
  }

 private:
  void _check_input_dim(const torch::Tensor& x) override {
    TORCH_CHECK(x.dim() >= 2 && x.dim() <= 5 && x.size(0) > 0,
                "SyncBatchNorm: [samples, channels, ...] with at least one sample, not ",
                x.sizes());
  }

  /// Updates the running statistics as BatchNorm does: with the unbiased variance, and without a
  /// momentum as the mean over all batches.
  void keep(std::int64_t count, const torch::Tensor& means, const torch::Tensor& variances) {
    const torch::NoGradGuard no_grad;
    this->num_batches_tracked += 1;
    const double share = this->options.momentum().has_value()
                             ? *this->options.momentum()
                             : 1.0 / this->num_batches_tracked.template item<double>();
    const double unbias =
        count > 1 ? static_cast<double>(count) / static_cast<double>(count - 1) : 1.0;
    this->running_mean.mul_(1 - share).add_(means.to(this->running_mean.dtype()), share);
    this->running_var.mul_(1 - share).add_((variances * unbias).to(this->running_var.dtype()),
                                           share);
  }

  static std::int64_t next_number() {
    static std::atomic<std::int64_t> number{0};
    return number++;
  }

  std::string name_;
};
/// The module's holder, as for LibTorch's own modules.
TORCH_MODULE(SyncBatchNorm);

}  // namespace ringleader

// SPDX-License-Identifier: Apache-2.0
#include <ringleader/ops/batch_moments.h>

#include <ringleader/ops/collectives.h>

#include <algorithm>
#include <cstddef>

namespace ringleader {
namespace {

/// Adds `count` values with these moments to `all`.
void merge(BatchMoments& all, std::int64_t count, const double* means, const double* variances) {
  if (count == 0) return;
  const auto before = static_cast<double>(all.count);
  all.count += count;
  const double share = static_cast<double>(count) / static_cast<double>(all.count);
  const double rest = before / static_cast<double>(all.count);
  for (std::size_t c = 0; c < all.means.size(); ++c) {
    const double gap = means[c] - all.means[c];
    all.means[c] += gap * share;
    all.variances[c] = all.variances[c] * rest + variances[c] * share + gap * gap * share * rest;
  }
}

}  // namespace

BatchMoments combine_moments(std::string_view name, const BatchMoments& here,
                             ProcessSet process_set, SourceLocation where) {
  const std::size_t channels = here.means.size();
  if (here.count < 0 || here.variances.size() != channels) {
    throw Error(Status(Code::invalid_argument,
                       "combine_moments: a count of at least 0, and as many variances as means"));
  }
  // One row per rank: count, means, variances. A count is exact up to 2^53.
  std::vector<double> row = {static_cast<double>(here.count)};
  row.insert(row.end(), here.means.begin(), here.means.end());
  row.insert(row.end(), here.variances.begin(), here.variances.end());
  const ConstTensorView mine(row.data(), {1, static_cast<std::int64_t>(row.size())});
  const Output rows = allgather(name, mine, process_set, where);

  BatchMoments all{0, std::vector<double>(channels, 0.0), std::vector<double>(channels, 0.0)};
  const auto* theirs = static_cast<const double*>(rows.view().data());
  for (std::int64_t rank = 0; rank < rows.view().shape()[0]; ++rank, theirs += row.size()) {
    merge(all, static_cast<std::int64_t>(theirs[0]), theirs + 1, theirs + 1 + channels);
  }
  return all;
}

}  // namespace ringleader

// SPDX-License-Identifier: Apache-2.0
#include "stop.h"

#include <ringleader/ringleader.h>

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdio>
#include <optional>
#include <span>

namespace train_mnist {
namespace {

/// 64-bit FNV-1a (Fowler, Noll, Vo; RFC 9923).
std::uint64_t fnv1a(std::span<const std::byte> bytes) {
  std::uint64_t hash = 0xcbf29ce484222325U;
  for (const std::byte byte : bytes) {
    hash = (hash ^ std::to_integer<std::uint64_t>(byte)) * 0x100000001b3U;
  }
  return hash;
}

std::string to_text(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.15g", value);
  return text;
}

/// Every rank's row, one after another.
template <typename T>
std::vector<T> gather(std::string_view name, std::vector<T>& row) {
  const ringleader::TensorView view(row.data(), {static_cast<std::int64_t>(row.size())});
  return ringleader::allgather(name, view).template to_vector<T>();
}

}  // namespace

void run_on_all_ranks(std::string_view name, const std::function<void()>& function) {
  std::optional<Stop> stop;
  try {
    function();
  } catch (const Stop& thrown) {
    stop = thrown;
  }
  // The smallest claim wins: [0, size) is an error on that rank, [size, 2 size) a regular end
  // there.
  const std::int64_t size = ringleader::size();
  std::int64_t claim = 2 * size;
  if (stop) claim = ringleader::rank() + (stop->exit_code() == kExitSuccess ? size : 0);
  std::int64_t winner = claim;
  ringleader::allreduce(name, ringleader::TensorView(&winner, {1}), ringleader::ReduceOp::min);
  if (winner == 2 * size) return;
  if (winner == claim) throw *stop;
  throw Stop(winner < size ? kExitUsage : kExitSuccess, "");
}

void require_equal(std::string_view name, const std::vector<NamedValue>& values) {
  std::vector<double> row;
  for (const NamedValue& named : values) row.push_back(named.value);
  const std::vector<double> all = gather(name, row);
  for (std::size_t i = 0; i < values.size(); ++i) {
    for (std::size_t start = 0; start < all.size(); start += values.size()) {
      if (all[start + i] == all[i]) continue;
      const std::string message =
          values[i].name + " differs between ranks: rank 0 has " + to_text(all[i]) + ", rank " +
          std::to_string(start / values.size()) + " has " + to_text(all[start + i]);
      throw Stop(kExitUsage, ringleader::rank() == 0 ? message : "");
    }
  }
}

HashComparison compare_hashes(std::string_view name, const std::vector<float>& values) {
  std::vector<std::int64_t> row = {
      std::bit_cast<std::int64_t>(fnv1a(std::as_bytes(std::span(values))))};
  const std::vector<std::int64_t> all = gather(name, row);
  const auto different =
      std::find_if(all.begin(), all.end(), [&](std::int64_t hash) { return hash != all.front(); });
  return {std::bit_cast<std::uint64_t>(all.front()),
          different == all.end() ? -1 : static_cast<int>(different - all.begin())};
}

}  // namespace train_mnist

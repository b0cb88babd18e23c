// SPDX-License-Identifier: Apache-2.0
#include <ringleader/ops/agreement.h>

#include <fmt/core.h>

#include <algorithm>
#include <sstream>

namespace ringleader {

std::string common_settings(const Config& config) {
  std::string rows = config.algorithms;  // one setting is one line
  std::replace(rows.begin(), rows.end(), '\n', ';');
  return fmt::format(
      "RINGLEADER_TREE_RADIX={}\n"
      "RINGLEADER_NAMES_MAX={}\n"
      "RINGLEADER_FUSION_BYTES={}\n"
      "RINGLEADER_BACKEND={}\n"
      "RINGLEADER_DETERMINISTIC={:d}\n"
      "RINGLEADER_SEGMENT_BYTES={}\n"
      "RINGLEADER_ALGORITHMS={}\n"
      "RINGLEADER_NCCL_HIERARCHICAL={:d}\n"
      "RINGLEADER_NCCL_CTAS_MIN={}\n"
      "RINGLEADER_NCCL_CTAS_MAX={}\n"
      "RINGLEADER_NCCL_CGA_SIZE={}\n"
      "RINGLEADER_NCCL_NET={}\n"
      "NCCL_HOSTID set={:d}\n",
      config.tree_radix, config.names_max, config.fusion_bytes_max, config.backend,
      config.deterministic, config.segment_bytes, rows, config.nccl.hierarchical,
      config.nccl.ctas_min, config.nccl.ctas_max, config.nccl.cga_size, config.nccl.net_name,
      config.nccl_hosts_named);
}

Status compare_settings(const std::vector<std::string>& all) {
  for (std::size_t rank = 1; rank < all.size(); ++rank) {
    if (all[rank] == all[0]) continue;
    std::istringstream first(all[0]);
    std::istringstream other(all[rank]);
    for (std::string a, b; std::getline(first, a);) {
      std::getline(other, b);
      if (a == b) continue;
      return Status(Code::mismatch,
                    fmt::format("settings differ: {} on rank 0, {} on rank {}; make them equal on "
                                "all ranks",
                                a, b, rank));
    }
    return Status(Code::mismatch, fmt::format("rank {} runs another version of the library", rank));
  }
  return Status();
}

}  // namespace ringleader

// SPDX-License-Identifier: Apache-2.0
#include <ringleader/ops/process_set.h>

#include <ringleader/core/runtime/runtime.h>
#include <ringleader/ops/session/current_session.h>

#include <fmt/core.h>

#include <algorithm>
#include <string>

namespace ringleader {

std::vector<int> ProcessSet::ranks() const {
  std::vector<int> members = current_runtime("ProcessSet::ranks()")->process_set_ranks(id);
  if (members.empty()) {
    throw Error(Status(Code::invalid_argument, fmt::format("there is no process set {}", id)));
  }
  return members;
}

int ProcessSet::size() const { return static_cast<int>(ranks().size()); }

bool ProcessSet::includes(int world_rank) const {
  const std::vector<int> members = ranks();
  return std::binary_search(members.begin(), members.end(), world_rank);
}

int ProcessSet::rank() const {
  const std::vector<int> members = ranks();
  const int own = current_topology("ProcessSet::rank()").rank;
  const auto found = std::lower_bound(members.begin(), members.end(), own);
  if (found == members.end() || *found != own) return -1;
  return static_cast<int>(found - members.begin());
}

ProcessSet add_process_set(std::vector<int> ranks) {
  const int size = current_topology("add_process_set()").size;
  std::sort(ranks.begin(), ranks.end());
  const bool repeated = std::adjacent_find(ranks.begin(), ranks.end()) != ranks.end();
  if (ranks.empty() || repeated || ranks.front() < 0 || ranks.back() >= size) {
    throw Error(Status(Code::invalid_argument,
                       fmt::format("add_process_set(): the ranks must be distinct and below {}, "
                                   "and there must be at least one",
                                   size)));
  }
  protocol::Request request;
  request.kind = protocol::RequestKind::add_process_set;
  request.name = own_name(request);
  request.ranks.assign(ranks.begin(), ranks.end());
  return {static_cast<std::uint32_t>(run_operation("add_process_set()", std::move(request)))};
}

void remove_process_set(ProcessSet process_set) {
  protocol::Request request;
  request.kind = protocol::RequestKind::remove_process_set;
  request.name = own_name(request);
  request.target = process_set.id;
  run_operation("remove_process_set()", std::move(request));
}

}  // namespace ringleader

// SPDX-License-Identifier: Apache-2.0
//
// VirtualRank: a node, and how far the rank's threads have come in the scenario's program.
#pragma once

#include "random.h"
#include "scenario.h"

#include <ringleader/core/protocol/node.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <vector>

namespace ringleader::sim {

/// Submits the submissions of a block, then waits for them one after another. A thread whose
/// operation has completed takes its time to notice, and seems to wait until then.
struct VirtualThread {
  std::size_t block = 0;
  std::size_t submission = 0;
  std::vector<protocol::Token> submitted;  ///< of this block, as far as it has not waited for them
  protocol::Token awaited = protocol::kNoToken;
};

struct PendingWish {
  Submission submission;
  std::size_t thread = 0;
};

struct VirtualRank {
  VirtualRank(const Scenario& owner, int own_rank)
      : scenario(&owner), rank(static_cast<std::size_t>(own_rank)), threads(program().size()) {
    protocol::NodeOptions options;
    options.rank = own_rank;
    options.size = owner.ranks;
    options.radix = owner.radix;
    options.fusion_bytes_max = owner.fusion_bytes_max;
    options.names_max = owner.names_max;
    options.watch = {owner.grace * 1000, owner.stall_warning * 1000, owner.stall_abort * 1000};
    node = std::make_unique<protocol::Node>(options);
  }

  const Program& program() const { return scenario->programs[rank]; }

  bool has_finished(std::size_t thread) const {
    return threads[thread].block >= program()[thread].size();
  }

  /// Other threads than the first begin when the plans and process sets exist.
  bool may_begin(std::size_t thread) const {
    return thread == 0 || scenario->setup.empty() || threads[0].block >= scenario->setup[rank];
  }

  /// What each thread that has not finished seems to wait for; empty if one does not wait.
  std::vector<protocol::Token> awaited() const {
    std::vector<protocol::Token> tokens;
    for (std::size_t i = 0; i < threads.size(); ++i) {
      if (has_finished(i)) continue;
      if (threads[i].awaited == protocol::kNoToken) return {};
      tokens.push_back(threads[i].awaited);
    }
    return tokens;
  }

  bool wants_ticks() const { return !dead && (node->pending() > 0 || node->wants_tick()); }

  bool is_pending(int operation) const {
    return std::any_of(pending.begin(), pending.end(), [operation](const auto& item) {
      return item.second.submission.operation == operation;
    });
  }

  std::size_t blocks_left() const { return program()[0].size() - threads[0].block; }

  /// Blocks of the rank that belong to the quiet steps: ranks outside all plans have none.
  std::size_t quiet_blocks() const { return scenario->quiet_blocks[rank]; }

  const Scenario* scenario;
  std::size_t rank;
  std::vector<VirtualThread> threads;
  std::unique_ptr<protocol::Node> node;
  bool dead = false;
  bool ticking = false;
  std::map<protocol::Token, PendingWish> pending;
  protocol::Token next_token = 1;
  std::map<int, std::uint32_t> process_sets = {{0, 0}};  ///< scenario index to id
  std::map<int, std::uint32_t> plans;
};

inline std::vector<int> neighbours_of(int rank, const Scenario& scenario) {
  const protocol::Tree tree{rank, scenario.ranks, scenario.radix};
  std::vector<int> neighbours;
  if (!tree.is_root()) neighbours.push_back(tree.parent());
  for (int i = 0; i < tree.child_count(); ++i) neighbours.push_back(tree.child(i));
  return neighbours;
}

/// Decodes a log that many receive for one of them.
class Decoder {
 public:
  const Result<protocol::Message>& decoded(const protocol::Payload& bytes) {
    if (bytes != latest_) {
      latest_ = bytes;
      message_ = protocol::decode(*bytes);
    }
    return message_;
  }

 private:
  protocol::Payload latest_;
  Result<protocol::Message> message_ = Status(Code::bad_message, "");
};

/// What arrives of a message that something happens to.
inline protocol::Payload damaged(Damage::Kind kind, const protocol::Payload& bytes,
                                 Random& random) {
  protocol::Bytes copy = *bytes;
  switch (kind) {
    case Damage::Kind::garbled:
      copy[random.below(copy.size())] ^= static_cast<std::byte>(random.between(1, 255));
      break;
    case Damage::Kind::truncated:
      copy.resize(random.below(copy.size()));
      break;
    case Damage::Kind::oversized:
      copy.resize(copy.size() + 100'000);
      break;
    default:
      return bytes;
  }
  return std::make_shared<const protocol::Bytes>(std::move(copy));
}

}  // namespace ringleader::sim

// SPDX-License-Identifier: Apache-2.0
//
// LogP: many virtual ranks that run the production protocol on a modelled network: the processor of
// a rank is busy for `overhead` per message sent and per message received, and a message takes
// alpha = latency + 2 overhead from the one processor to the other when both are free (the LogP
// model of Culler et al. 1993, without its gap). Operations that are decided run at once; only the
// negotiation is timed.
#pragma once

#include "random.h"
#include "virtual_rank.h"

#include <ringleader/core/protocol/node.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <queue>
#include <vector>

namespace ringleader::sim {

struct LogPOptions {
  int ranks = 2;
  int tensors = 161;
  int radix = 8;
  double alpha_us = 2.0;
  double overhead_us = 0.3;
  std::uint64_t seed = 1;
};

/// What has been sent since the last reset, and how long it took.
struct Traffic {
  std::uint64_t messages = 0;
  std::uint64_t bytes = 0;
  std::uint64_t messages_in_max = 0;  ///< into the busiest rank
  double time_us = 0;                 ///< until the last rank knew the last decision
};

class LogP {
 public:
  explicit LogP(const LogPOptions& options);

  /// Every rank submits all tensors, each in an order of its own; returns when all are decided.
  Traffic negotiate();

  /// The same without a clock and subtree by subtree, so that at no time much is under way: for the
  /// first negotiation, in which the names travel.
  void introduce();

  /// Every rank registers the tensors as a plan, untimed.
  void register_plan();

  /// A step of the plan: every rank submits all parameters.
  Traffic step();

  /// Memory of one rank that has not done anything yet.
  double bytes_per_idle_rank() const { return bytes_per_idle_rank_; }

  int depth() const { return protocol::Tree{0, options_.ranks, options_.radix}.levels_below(); }

 private:
  struct Rank {
    std::unique_ptr<protocol::Node> node;
    double free_at = 0;  ///< when its processor is
    std::uint64_t received = 0;
    protocol::Token next_token = 1;
    std::uint32_t left = 0;  ///< operations that have not completed
  };
  struct Arrival {
    double time = 0;
    std::uint64_t order = 0;
    int from = 0;
    int to = 0;
    protocol::Payload bytes;

    bool operator>(const Arrival& other) const {
      return time != other.time ? time > other.time : order > other.order;
    }
  };

  Rank& at(int rank) { return ranks_[static_cast<std::size_t>(rank)]; }
  void submit(int rank);
  void submit_parameters(int rank);
  void pump(int rank, bool timed);
  void deliver(int from, int to, const protocol::Payload& bytes, bool timed);
  void deliver_all();
  void visit(int rank, const std::function<void(int)>& submission);
  Traffic run(const std::function<void(int)>& submission);

  LogPOptions options_;
  Random random_;
  std::vector<Rank> ranks_;
  std::vector<std::shared_ptr<const protocol::Request>> requests_;  ///< shared by all ranks
  std::vector<std::uint32_t> order_;
  std::uint32_t plan_ = 0;
  double bytes_per_idle_rank_ = 0;

  std::priority_queue<Arrival, std::vector<Arrival>, std::greater<>> arrivals_;
  std::vector<Arrival> untimed_;
  std::uint64_t sent_ = 0;
  Traffic traffic_;
  Decoder decoder_;
};

/// The baseline: every rank tells rank 0 about each tensor, and is told about each decision.
Traffic negotiate_naively(const LogPOptions& options);

}  // namespace ringleader::sim

// SPDX-License-Identifier: Apache-2.0
#include <ringleader/core/protocol/node.h>

#include <ringleader/core/protocol/mutated.h>

#include <fmt/core.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <numeric>
#include <utility>

namespace ringleader::protocol {

Node::Node(const NodeOptions& options)
    : tree_{options.rank, options.size, std::clamp(options.radix, 1, kRadixMax)},
      catalog_(tree_),
      readiness_(catalog_, tree_.rank, tree_.child(0)),
      announcements_heard_(static_cast<std::size_t>(tree_.child_count())),
      watch_(options.watch) {
  if (!tree_.is_root()) return;
  coordinator_.emplace(
      catalog_, CoordinatorOptions{options.fusion_bytes_max, options.names_max},
      [this](LogEntry entry) {
        if (stopped_) return;
        // A decision that cannot be applied comes from what a broken peer said.
        if (const Status status = apply(entry); !status.ok()) return lost(status);
        log_.push_back(std::move(entry));
      },
      [this](std::uint32_t plan) { return order_of(plan); });
}

Status Node::submit(Token token, Request request) {
  return submit(token, std::make_shared<const Request>(std::move(request)));
}

Status Node::submit(Token token, std::shared_ptr<const Request> request) {
  if (const Status status = check(*request); !status.ok()) return status;
  LocalOperation operation;
  operation.where = request->where;
  operation.tensors_left = static_cast<std::uint32_t>(request->tensors.size());
  operation.request = request;
  operations_.add(token, std::move(operation));
  watch_.changed();
  if (request->op == Op::join) {
    joins_[request->process_set] = token;
    readiness_.add_join(request->process_set, kSelf, tree_.rank);
    leave_plans(request->process_set);
  } else {
    announce(token);
  }
  return Status();
}

Status Node::check(const Request& request) const {
  const auto what = [&request] { return describe(request); };
  if (stopped_) return *stopped_;  // the words of those that it caught in flight
  if (leaving_) return Status(Code::shutdown, what() + ": this rank has shut down");
  const ProcessSetInfo* set = catalog_.process_set(request.process_set);
  if (set == nullptr) return Status(Code::invalid_argument, what() + ": no such process set");
  if (!set->member) {
    return Status(Code::invalid_argument,
                  fmt::format("{}: rank {} is not a member of process set {}", what(), tree_.rank,
                              request.process_set));
  }
  if (joins_.count(request.process_set) != 0) {
    return Status(Code::joined, what() + ": this rank has joined and not all others have");
  }
  if (operations_.in_flight(key_of(request))) {
    return Status(Code::duplicate_name,
                  what() +
                      ": an operation of this name is in flight on this rank; wait for it or "
                      "use another name");
  }
  if (request.op == Op::remove_process_set &&
      (request.target == 0 || catalog_.process_set(request.target) == nullptr)) {
    return Status(Code::invalid_argument,
                  fmt::format("{}: process set {} cannot be removed", what(), request.target));
  }
  if (request.op == Op::remove_process_set && operations_.uses_process_set(request.target)) {
    return Status(
        Code::invalid_argument,
        fmt::format("{}: operations of process set {} are pending", what(), request.target));
  }
  if (request.op == Op::exchange &&
      !is_pairing(request.ranks, catalog_.ranks_of(request.process_set))) {
    return Status(
        Code::invalid_argument,
        fmt::format("{}: the destinations {} are not one per member, each a member or -1, "
                    "and no member twice",
                    what(), request.ranks));
  }
  if (request.op == Op::register_plan) {
    const TensorSpec* const wrong = catalog_.first_unplannable(request);
    if (wrong != nullptr) {
      return Status(Code::invalid_argument, fmt::format("{}: '{}': {} cannot be planned", what(),
                                                        wrong->name, name_of(wrong->op)));
    }
  }
  if (request.op == Op::join) {
    for (const auto& [plan, state] : plans_) {
      const PlanInfo* info = catalog_.plan(plan);
      if (info->process_set() != request.process_set) continue;
      if (plan_runs_with_joined_ranks(*info->request)) continue;
      return Status(Code::invalid_argument,
                    fmt::format("{}: {} needs every rank in every step; end it first, or use its "
                                "own way to join",
                                what(), describe(*info->request)));
    }
  }
  if (request.op == Op::release_plan) {
    const auto plan = plans_.find(request.target);
    if (plan == plans_.end() || plan->second.busy()) {
      return Status(Code::invalid_argument,
                    fmt::format("{}: plan {} does not exist or is in use", what(), request.target));
    }
  }
  return Status();
}

Status Node::submit_parameter(Token token, std::uint32_t plan, std::uint32_t index,
                              SourceLocation where) {
  if (stopped_) return *stopped_;
  if (leaving_) return Status(Code::shutdown, "a gradient: this rank has shut down");
  const auto found = plans_.find(plan);
  const PlanInfo* info = catalog_.plan(plan);
  if (found == plans_.end() || info == nullptr) {
    return Status(Code::invalid_argument, fmt::format("there is no plan {}", plan));
  }
  if (joins_.count(info->process_set()) != 0) {
    return Status(Code::joined, describe(*info->request) + ": this rank has joined");
  }
  if (const Status status = found->second.submit(index, token); !status.ok()) {
    return Status(status.code(), describe(*info->request) + ": " + status.message());
  }
  LocalOperation operation;
  operation.parameter = PlanParameter{plan, index};
  operation.where = where;
  operations_.add(token, std::move(operation));
  watch_.changed();
  if (found->second.negotiated() || mutated(Mutation::announce_armed)) {
    announce_parameter(plan, index);
  }
  if (!found->second.negotiated()) run_plan(plan);
  return Status();
}

/// Root: the order in which its own rank announces them. Where that is not a member, the reverse of
/// the registration, in which gradients become ready as a rule.
std::vector<std::uint32_t> Node::order_of(std::uint32_t plan) const {
  const std::uint32_t size = catalog_.plan(plan)->size();
  const std::vector<std::uint32_t>& own = plans_.at(plan).order();
  if (own.size() == size) return own;
  std::vector<std::uint32_t> order(size);
  std::iota(order.rbegin(), order.rend(), 0U);
  return order;
}

std::int64_t Node::step_of(std::uint32_t plan) const {
  const auto found = plans_.find(plan);
  return found == plans_.end() ? 0 : static_cast<std::int64_t>(found->second.step());
}

/// "train.cc:42, in step 7 of 'optimizer'"
std::string Node::site_of(const Request& request) const {
  std::string site = to_string(request.where);
  for (const auto& [plan, state] : plans_) {
    const PlanInfo* info = catalog_.plan(plan);
    if (info == nullptr || state.step() == 0) continue;
    site += fmt::format("{}in step {} of '{}'", site.empty() ? "" : ", ", state.step(),
                        short_name(*info->request));
    break;
  }
  return site;
}

/// By id if the id stands for exactly this request, in full otherwise.
void Node::announce(Token token) {
  const auto shared = operations_.find(token)->request;
  const Request& request = *shared;
  const std::optional<std::uint32_t> id = catalog_.id_of(key_of(request));
  if (id && !first_disagreement(*catalog_.find(*id)->request, request)) {
    readiness_.add(*id, kSelf);
  } else {
    readiness_.add(NamedAnnouncement{shared, tree_.rank, site_of(request), {}, {}}, kSelf);
  }
}

void Node::announce_parameter(std::uint32_t plan, std::uint32_t index) {
  readiness_.add(catalog_.plan(plan)->first_id + index, kSelf);
}

void Node::request_shutdown() {
  if (leaving_ || stopped_) return;
  leaving_ = true;
  if (coordinator_) {
    coordinator_->farewell(tree_.rank);
  } else {
    outgoing_.farewell = Farewell{tree_.rank};
  }
}

void Node::lost(const Status& reason) {
  if (failed_) return;
  const Payload bytes = payload_of(Abort{reason});
  if (!tree_.is_root()) messages_.push_back({tree_.parent(), bytes});
  if (!mutated(Mutation::deaf_to_loss)) tell_children(bytes);
  failed_ = true;
  stopped_ = Status(Code::rank_lost, reason.message());
  in_flight_.clear();
  for (const Token token : operations_.tokens()) complete(token, *stopped_);
}

}  // namespace ringleader::protocol

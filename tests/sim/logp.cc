// SPDX-License-Identifier: Apache-2.0
#include "logp.h"

#include <malloc.h>

#include <algorithm>
#include <numeric>
#include <stdexcept>
#include <string>
#include <utility>

namespace ringleader::sim {
namespace {

/// A layer-like name and size; 161 of them are about 100 MB, as ResNet-50's gradients are.
protocol::TensorSpec tensor_spec(int index) {
  return {"layer" + std::to_string(index) + ".w", {147'456 + 64 * index}, DType::f32};
}

std::size_t allocated_bytes() {
  const struct mallinfo2 info = mallinfo2();
  return info.uordblks + info.hblkhd;
}

void require(const Status& status) {
  if (!status.ok()) throw std::runtime_error(status.message());
}

}  // namespace

LogP::LogP(const LogPOptions& options)
    : options_(options), random_(options.seed), order_(static_cast<std::size_t>(options.tensors)) {
  for (int i = 0; i < options.tensors; ++i) {
    auto request = std::make_shared<protocol::Request>();
    request->tensors = {tensor_spec(i)};
    request->name = std::exchange(request->tensors[0].name, "");
    requests_.push_back(std::move(request));
  }
  std::iota(order_.begin(), order_.end(), 0U);
  const std::size_t before = allocated_bytes();
  ranks_.resize(static_cast<std::size_t>(options.ranks));
  for (int rank = 0; rank < options.ranks; ++rank) {
    protocol::NodeOptions node;
    node.rank = rank;
    node.size = options.ranks;
    node.radix = options.radix;
    at(rank).node = std::make_unique<protocol::Node>(node);
  }
  bytes_per_idle_rank_ = static_cast<double>(allocated_bytes() - before) / options.ranks;
}

void LogP::submit(int rank) {
  Rank& state = at(rank);
  for (const std::uint32_t index : order_) {
    require(state.node->submit(state.next_token++, requests_[index]));
    ++state.left;
  }
}

void LogP::submit_parameters(int rank) {
  Rank& state = at(rank);
  random_.shuffle(order_);
  for (const std::uint32_t index : order_) {
    require(state.node->submit_parameter(state.next_token++, plan_, index));
    ++state.left;
  }
}

void LogP::pump(int rank, bool timed) {
  Rank& state = at(rank);
  // Batches run at once, and what that sets free is looked at again.
  for (auto actions = state.node->take_actions(); !actions.empty();
       actions = state.node->take_actions()) {
    for (const protocol::Action& action : actions) {
      if (const auto* launch = std::get_if<protocol::Launch>(&action)) {
        state.node->finished(launch->id);
      } else if (const auto* completion = std::get_if<protocol::Completion>(&action)) {
        require(completion->status);
        --state.left;
      }
    }
  }
  const double latency = options_.alpha_us - 2 * options_.overhead_us;
  for (protocol::OutgoingMessage& message : state.node->take_messages()) {
    ++traffic_.messages;
    traffic_.bytes += message.bytes->size();
    if (timed) {
      state.free_at += options_.overhead_us;
      arrivals_.push(
          {state.free_at + latency, sent_++, rank, message.to, std::move(message.bytes)});
    } else {
      untimed_.push_back({0, 0, rank, message.to, std::move(message.bytes)});
    }
  }
}

void LogP::deliver(int from, int to, const protocol::Payload& bytes, bool timed) {
  const Result<protocol::Message>& message = decoder_.decoded(bytes);
  require(message.status());
  Rank& state = at(to);
  traffic_.messages_in_max = std::max(traffic_.messages_in_max, ++state.received);
  require(state.node->receive(from, *message, bytes));
  pump(to, timed);
}

void LogP::deliver_all() {
  while (!untimed_.empty()) {
    const Arrival next = std::move(untimed_.back());
    untimed_.pop_back();
    deliver(next.from, next.to, next.bytes, false);
  }
}

/// The subtree first, so that its messages have been dealt with when the rank itself comes.
void LogP::visit(int rank, const std::function<void(int)>& submission) {
  const protocol::Tree tree{rank, options_.ranks, options_.radix};
  for (int i = 0; i < tree.child_count(); ++i) visit(tree.child(i), submission);
  submission(rank);
  pump(rank, false);
  deliver_all();
}

void LogP::introduce() {
  std::sort(order_.begin(), order_.end());
  visit(0, [this](int rank) { submit(rank); });
}

void LogP::register_plan() {
  auto request = std::make_shared<protocol::Request>();
  request->kind = protocol::RequestKind::register_plan;
  request->name = "plan";
  for (int i = 0; i < options_.tensors; ++i) request->tensors.push_back(tensor_spec(i));
  const std::shared_ptr<const protocol::Request> shared = std::move(request);
  visit(0, [&](int rank) {
    require(at(rank).node->submit(at(rank).next_token++, shared));
    ++at(rank).left;
  });
  visit(0, [this](int rank) { submit_parameters(rank); });
}

Traffic LogP::run(const std::function<void(int)>& submission) {
  traffic_ = Traffic();
  double begin = 0;
  for (Rank& rank : ranks_) begin = std::max(begin, rank.free_at);
  for (Rank& rank : ranks_) {
    rank.free_at = begin;
    rank.received = 0;
  }
  for (int rank = 0; rank < options_.ranks; ++rank) {
    submission(rank);
    pump(rank, true);
  }
  double end = begin;
  while (!arrivals_.empty()) {
    const Arrival next = std::move(const_cast<Arrival&>(arrivals_.top()));
    arrivals_.pop();
    Rank& rank = at(next.to);
    rank.free_at = std::max(rank.free_at, next.time) + options_.overhead_us;
    end = std::max(end, rank.free_at);
    deliver(next.from, next.to, next.bytes, true);
  }
  for (const Rank& rank : ranks_) {
    if (rank.left != 0) throw std::runtime_error("an operation was not decided");
  }
  traffic_.time_us = end - begin;
  return traffic_;
}

Traffic LogP::negotiate() {
  return run([this](int rank) {
    random_.shuffle(order_);
    submit(rank);
  });
}

Traffic LogP::step() {
  return run([this](int rank) { submit_parameters(rank); });
}

Traffic negotiate_naively(const LogPOptions& options) {
  const double latency = options.alpha_us - 2 * options.overhead_us;
  const auto others = static_cast<std::uint64_t>(options.ranks - 1);
  const auto tensors = static_cast<std::uint64_t>(options.tensors);
  Traffic traffic;
  traffic.messages = 2 * others * tensors;
  traffic.messages_in_max = others * tensors;
  traffic.bytes = traffic.messages * 8;  // an id and an answer, without any header
  double root = 0;
  double end = 0;
  for (std::uint64_t tensor = 0; tensor < tensors; ++tensor) {
    const double arrival = static_cast<double>(tensor + 1) * options.overhead_us + latency;
    for (std::uint64_t i = 0; i < others; ++i) root = std::max(root, arrival) + options.overhead_us;
  }
  for (std::uint64_t i = 0; i < others * tensors; ++i) {
    root += options.overhead_us;
    end = root + latency + options.overhead_us;
  }
  traffic.time_us = end;
  return traffic;
}

}  // namespace ringleader::sim

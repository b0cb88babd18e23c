// SPDX-License-Identifier: Apache-2.0
//
// Network: a few nodes whose messages a test delivers by hand.
#pragma once

#include <ringleader/core/protocol/node.h>

#include <deque>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace ringleader::protocol {

class Network {
 public:
  explicit Network(int size, int radix = 8, std::int64_t fusion_bytes_max = 1 << 20,
                   std::size_t names_max = 1000)
      : Network(size, make_options(radix, fusion_bytes_max, names_max)) {}

  /// All ranks with these options, but for rank and size.
  Network(int size, NodeOptions options) {
    options.size = size;
    for (options.rank = 0; options.rank < size; ++options.rank) {
      nodes_.push_back(std::make_unique<Node>(options));
    }
    launches.resize(nodes_.size());
    completions.resize(nodes_.size());
  }

  Node& operator[](int rank) { return *nodes_[static_cast<std::size_t>(rank)]; }
  int size() const { return static_cast<int>(nodes_.size()); }

  Token submit(int rank, const Request& request) {
    const Token token = latest_[rank] = next_token_++;
    const Status status = (*this)[rank].submit(token, request);
    if (!status.ok()) completions[static_cast<std::size_t>(rank)][token] = {token, status, 0};
    return token;
  }

  Token submit_parameter(int rank, std::uint32_t plan, std::uint32_t index) {
    const Token token = latest_[rank] = next_token_++;
    const Status status = (*this)[rank].submit_parameter(token, plan, index);
    if (!status.ok()) completions[static_cast<std::size_t>(rank)][token] = {token, status, 0};
    return token;
  }

  /// Delivers messages until there are none; launched batches finish at once if `run` is set. What
  /// is sent to the rank `stopped` is lost, and it sends nothing.
  void settle(bool run = true, int stopped = -1) {
    for (bool progress = true; progress;) {
      progress = false;
      for (int rank = 0; rank < size(); ++rank) {
        if (rank == stopped) continue;
        for (OutgoingMessage& message : (*this)[rank].take_messages()) {
          ++messages;
          if (message.to == stopped) continue;
          (void)(*this)[message.to].receive(rank, message.bytes).ok();
          progress = true;
        }
        for (Action& action : (*this)[rank].take_actions()) {
          progress = true;
          const auto index = static_cast<std::size_t>(rank);
          if (auto* launch = std::get_if<Launch>(&action)) {
            launches[index].push_back(*launch);
            if (run) (*this)[rank].finished(launch->id);
          } else if (auto* completion = std::get_if<Completion>(&action)) {
            completions[index][completion->token] = *completion;
          } else if (auto* notice = std::get_if<Notice>(&action)) {
            notices.push_back(notice->text);
          }
        }
      }
    }
  }

  /// What the rank waits for, if its only thread waits for what it submitted last.
  std::vector<Token> awaited(int rank) const {
    const auto last = latest_.find(rank);
    if (last == latest_.end() || completed(rank, last->second)) return {};
    return {last->second};
  }

  bool completed(int rank, Token token) const {
    return completions[static_cast<std::size_t>(rank)].count(token) != 0;
  }
  Status status(int rank, Token token) const {
    return completions[static_cast<std::size_t>(rank)].at(token).status;
  }
  std::int64_t value(int rank, Token token) const {
    return completions[static_cast<std::size_t>(rank)].at(token).value;
  }

  std::vector<std::vector<Launch>> launches;             ///< per rank
  std::vector<std::map<Token, Completion>> completions;  ///< per rank
  std::vector<std::string> notices;                      ///< of all ranks
  int messages = 0;

 private:
  static NodeOptions make_options(int radix, std::int64_t fusion_bytes_max, std::size_t names_max) {
    NodeOptions options;
    options.radix = radix;
    options.fusion_bytes_max = fusion_bytes_max;
    options.names_max = names_max;
    return options;
  }

  std::vector<std::unique_ptr<Node>> nodes_;
  Token next_token_ = 1;
  std::map<int, Token> latest_;  ///< per rank: what it submitted last
};

inline Request allreduce_of(const std::string& name, Shape shape = {4}) {
  Request request;
  request.name = name;
  request.tensors = {{"", std::move(shape), DType::f32}};
  return request;
}

}  // namespace ringleader::protocol

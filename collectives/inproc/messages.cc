// SPDX-License-Identifier: Apache-2.0
#include <ringleader/collectives/inproc/messages.h>

#include <atomic>
#include <cstring>
#include <deque>
#include <map>
#include <mutex>
#include <tuple>
#include <utility>

namespace ringleader::inproc {
namespace {

/// A message for which one side, or both, have arrived. The second to arrive copies.
struct Exchange {
  const std::byte* source = nullptr;
  std::byte* target = nullptr;
  std::atomic<bool> copied{false};  // release when set: the copy comes before
  std::atomic<int> sides_left{2};   ///< that have not yet seen the end
};

struct Exchanges {
  /// Channel, sender, receiver, tag.
  using Key = std::tuple<std::uint32_t, int, int, int>;

  std::mutex mutex;
  std::map<Key, std::deque<Exchange*>> open;  ///< one side has arrived; oldest first

  /// The exchange that a side joins: the oldest that lacks this side, or a new one.
  Exchange* join(const Key& key, const std::byte* source, std::byte* target, std::int64_t bytes) {
    const std::lock_guard lock(mutex);
    std::deque<Exchange*>& waiting = open[key];
    const bool sends = source != nullptr;
    if (waiting.empty() || (waiting.front()->source != nullptr) == sends) {
      waiting.push_back(new Exchange{source, target});
      return waiting.back();
    }
    Exchange* const exchange = waiting.front();
    waiting.pop_front();
    if (sends) {
      exchange->source = source;
    } else {
      exchange->target = target;
    }
    if (bytes > 0) {
      std::memcpy(exchange->target, exchange->source, static_cast<std::size_t>(bytes));
    }
    exchange->copied.store(true, std::memory_order_release);  // with ended()
    return exchange;
  }

  /// Without the lock: ranks ask all the time.
  static bool ended(Exchange* exchange) {
    if (!exchange->copied.load(std::memory_order_acquire)) return false;
    if (--exchange->sides_left == 0) delete exchange;
    return true;
  }
};

class ThreadEndpoint : public p2p::Endpoint {
 public:
  ThreadEndpoint(std::shared_ptr<Exchanges> exchanges, std::uint32_t channel, int rank)
      : exchanges_(std::move(exchanges)), channel_(channel), rank_(rank) {}

  Status send(int peer, int tag, const std::byte* data, std::int64_t bytes,
              p2p::Message& message) override {
    static constexpr std::byte kNothing{};  // an empty message may have no address
    const std::byte* const source = data == nullptr ? &kNothing : data;
    message.value = reinterpret_cast<std::uintptr_t>(
        exchanges_->join({channel_, rank_, peer, tag}, source, nullptr, bytes));
    return Status();
  }

  Status receive(int peer, int tag, std::byte* data, std::int64_t bytes,
                 p2p::Message& message) override {
    message.value = reinterpret_cast<std::uintptr_t>(
        exchanges_->join({channel_, peer, rank_, tag}, nullptr, data, bytes));
    return Status();
  }

  Status test(p2p::Message& message, bool& done) override {
    done = Exchanges::ended(reinterpret_cast<Exchange*>(message.value));
    return Status();
  }

 private:
  std::shared_ptr<Exchanges> exchanges_;
  std::uint32_t channel_;
  int rank_;
};

class ThreadMessages : public p2p::Transport {
 public:
  explicit ThreadMessages(std::shared_ptr<Exchanges> exchanges)
      : exchanges_(std::move(exchanges)) {}

  Result<p2p::Endpoint*> endpoint(const Group& group) override {
    const std::lock_guard lock(mutex_);
    return &endpoints_.try_emplace(group.channel, exchanges_, group.channel, group.rank)
                .first->second;
  }

  void close(std::uint32_t channel) override {
    const std::lock_guard lock(mutex_);
    endpoints_.erase(channel);
  }

 private:
  std::shared_ptr<Exchanges> exchanges_;
  std::mutex mutex_;
  std::map<std::uint32_t, ThreadEndpoint> endpoints_;  ///< guarded by mutex_
};

}  // namespace

std::vector<std::unique_ptr<p2p::Transport>> make_transports(int size) {
  const auto exchanges = std::make_shared<Exchanges>();
  std::vector<std::unique_ptr<p2p::Transport>> transports;
  for (int rank = 0; rank < size; ++rank) {
    transports.push_back(std::make_unique<ThreadMessages>(exchanges));
  }
  return transports;
}

}  // namespace ringleader::inproc

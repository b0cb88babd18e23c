// SPDX-License-Identifier: Apache-2.0
//
// Timeline: what will happen in virtual time. What is scheduled for the same tick happens in the
// order in which it was scheduled, so that a run replays exactly.
#pragma once

#include <cstdint>
#include <functional>
#include <queue>
#include <utility>
#include <vector>

namespace ringleader::sim {

class Timeline {
 public:
  std::int64_t now() const { return now_; }
  bool empty() const { return events_.empty(); }

  void at(std::int64_t time, std::function<void()> happen) {
    events_.push({time, order_++, std::move(happen)});
  }
  void after(std::int64_t delay, std::function<void()> happen) {
    at(now_ + delay, std::move(happen));
  }

  /// The next event happens.
  void step() {
    const Event event = std::move(const_cast<Event&>(events_.top()));  // it is popped at once
    events_.pop();
    now_ = event.time;
    event.happen();
  }

 private:
  struct Event {
    std::int64_t time = 0;
    std::int64_t order = 0;
    std::function<void()> happen;

    bool operator>(const Event& other) const {
      return std::pair(time, order) > std::pair(other.time, other.order);
    }
  };

  std::priority_queue<Event, std::vector<Event>, std::greater<>> events_;
  std::int64_t now_ = 0;
  std::int64_t order_ = 0;
};

}  // namespace ringleader::sim

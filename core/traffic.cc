// SPDX-License-Identifier: Apache-2.0
#include <ringleader/core/traffic.h>

#include <numeric>

namespace ringleader {

/// A thread's counts, registered from its first count until the thread ends.
class TrafficMeter::Member {
 public:
  explicit Member(TrafficMeter& meter) : meter_(meter) {
    const std::lock_guard lock(meter_.mutex_);
    meter_.threads_.push_back(&counts);
  }
  ~Member() {
    const std::lock_guard lock(meter_.mutex_);
    std::erase(meter_.threads_, &counts);
    meter_.of_the_ended_ = sum(meter_.of_the_ended_, counts);
  }
  Member(const Member&) = delete;
  Member& operator=(const Member&) = delete;

  Counts counts;

 private:
  TrafficMeter& meter_;
};

TrafficMeter::Counts& TrafficMeter::of_this_thread() {
  thread_local Member member(traffic_meter);  // there is one meter
  return member.counts;
}

Traffic TrafficMeter::sum(Traffic total, const Counts& counts) {
  return {total.messages + counts.messages, total.message_bytes + counts.message_bytes,
          total.loaded_bytes + counts.loaded, total.stored_bytes + counts.stored,
          total.copied_bytes + counts.copied};
}

Traffic TrafficMeter::read() const {
  const std::lock_guard lock(mutex_);
  return std::accumulate(
      threads_.begin(), threads_.end(), of_the_ended_,
      [](const Traffic& total, const Counts* counts) { return sum(total, *counts); });
}

}  // namespace ringleader

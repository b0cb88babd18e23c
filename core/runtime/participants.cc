// SPDX-License-Identifier: Apache-2.0
#include <ringleader/core/runtime/participants.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <utility>

namespace ringleader::runtime {
namespace {

/// Looking at all threads of a process takes about 0.1 ms, so it is done only after the others have
/// waited for the same operations for this long.
constexpr std::int64_t kBeforeLooking_ms = 100;

std::int64_t now_ms() {
  const auto now = std::chrono::steady_clock::now().time_since_epoch();
  return std::chrono::duration_cast<std::chrono::milliseconds>(now).count();
}

}  // namespace

/// One thread. It outlives whichever of the thread and the runtime ends first.
struct Participants::Member {
  explicit Member(const Participants* all) : owner(all), thread(current_thread()) {}

  std::atomic<const Participants*> owner;  ///< null once it no longer takes part
  const int thread;
  std::mutex mutex;
  Wait wait;  ///< guarded by mutex
};

class Participants::Membership {
 public:
  ~Membership() { leave(); }
  void enter(std::shared_ptr<Member> member) {
    leave();
    member_ = std::move(member);
  }
  void leave() {
    if (member_) member_->owner = nullptr;
    member_.reset();
  }
  Member* get(const Participants* owner) const {
    return member_ && member_->owner == owner ? member_.get() : nullptr;
  }

 private:
  std::shared_ptr<Member> member_;
};

Participants::Membership& Participants::membership() {
  thread_local Membership membership;
  return membership;
}

Participants::Participants() = default;

Participants::~Participants() {
  for (const auto& member : members_) member->owner = nullptr;
}

void Participants::note() { member(); }

Participants::Member& Participants::member() {
  Membership& own = membership();
  if (Member* const known = own.get(this)) return *known;
  const auto member = std::make_shared<Member>(this);
  own.enter(member);
  const std::lock_guard lock(mutex_);
  members_.push_back(member);
  return *member;
}

void Participants::note_own_thread() {
  const std::lock_guard lock(mutex_);
  own_threads_.push_back(current_thread());
}

Participants::Waiting::Waiting(Participants& all, const Wait& wait) {
  Member& member = all.member();
  const std::lock_guard lock(member.mutex);
  before_ = std::exchange(member.wait, wait);
  member_ = &member;
}

Participants::Waiting::~Waiting() {
  const std::lock_guard lock(member_->mutex);
  member_->wait = before_;
}

Participants::Working::Working(Participants& all) : joined_(membership().get(&all) == nullptr) {
  Member& member = all.member();
  const std::lock_guard lock(member.mutex);
  before_ = std::exchange(member.wait, Wait());
  member_ = &member;
}

Participants::Working::~Working() {
  {
    const std::lock_guard lock(member_->mutex);
    member_->wait = before_;
  }
  if (joined_) membership().leave();
}

const std::vector<protocol::Token>& Participants::awaited() {
  const std::lock_guard lock(mutex_);
  std::erase_if(members_, [this](const auto& member) { return member->owner != this; });
  if (!look()) awaited_.clear();
  return awaited_;
}

/// Fills awaited_. False if some thread may go on.
bool Participants::look() {
  awaited_.clear();
  asleep_.clear();
  for (const auto& member : members_) {
    const std::lock_guard member_lock(member->mutex);
    const Wait& wait = member->wait;
    if (wait.finished == nullptr) {
      asleep_.push_back(member->thread);
      continue;
    }
    if (wait.operation == nullptr || (*wait.finished)()) return false;
    awaited_.push_back(wait.operation->token);
    if (awaited_.back() == protocol::kNoToken) return false;  // it is still in the mailbox
  }
  return asleep_.empty() || awaited_.empty() || sleep_for_good(asleep_, awaited_);
}

bool Participants::sleep_for_good(const std::vector<int>& threads,
                                  const std::vector<protocol::Token>& awaited) {
  const std::int64_t now = now_ms();
  if (awaited != awaited_before_) {
    awaited_before_ = awaited;
    awaited_since_ = now;
  }
  if (now - awaited_since_ < kBeforeLooking_ms) return false;
  std::vector<int> others = own_threads_;  // need not be looked at
  for (const auto& member : members_) others.push_back(member->thread);
  // The library's own thread may run a callback.
  std::erase_if(others, [&](int thread) {
    return std::find(threads.begin(), threads.end(), thread) != threads.end();
  });
  return threads_.sleep_for_good(others, threads);
}

}  // namespace ringleader::runtime

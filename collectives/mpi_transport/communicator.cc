// SPDX-License-Identifier: Apache-2.0
#include <ringleader/collectives/mpi_transport/communicator.h>

#include <deque>
#include <mutex>
#include <utility>

namespace ringleader::mpi_transport {
namespace {

/// MPI guarantees tags up to 32767: half of them for the runtime's channels, half for those that
/// backends derive from them, which have the highest bit (core/node_groups.cc). Channels that are
/// opened at the same time need different tags, and are never so many.
constexpr std::uint32_t kTagCount = 16384;

int tag_of(std::uint32_t channel) {
  const std::uint32_t half = channel >> 31;
  return static_cast<int>(half * kTagCount + channel % kTagCount);
}

/// Retired communicators that are kept for a while: those of several sessions.
constexpr std::size_t kRetiredMax = 64;

/// Frees communicators long after their last message. All ranks may say farewell at the same time,
/// and the root ends with the first farewell: nobody receives what the others sent. If such a
/// message arrives after the communicator has been freed, Open MPI 4.1 keeps it for the next
/// communicator with the same number and takes it for the first message of that rank there. init()
/// after shutdown() then hangs.
class Retired {
 public:
  void add(MPI_Comm communicator) {
    const std::lock_guard lock(mutex_);
    waiting_.push_back(communicator);
    if (waiting_.size() <= kRetiredMax) return;
    MPI_Comm_free(&waiting_.front());
    waiting_.pop_front();
  }

 private:
  std::mutex mutex_;
  std::deque<MPI_Comm> waiting_;  ///< those that are left end with MPI_Finalize
};

Retired& retired() {
  static Retired* const instance = new Retired;  // outlives sessions that end when the process does
  return *instance;
}

}  // namespace

Result<Communicator> Communicator::duplicate(MPI_Comm comm) {
  MPI_Comm copy = MPI_COMM_NULL;
  RL_MPI_RETURN_IF_ERROR(MPI_Comm_dup(comm, &copy));
  Communicator owned(copy);
  RL_MPI_RETURN_IF_ERROR(MPI_Comm_set_errhandler(copy, MPI_ERRORS_RETURN));
  return owned;
}

void Communicator::free() noexcept {
  if (comm_ == MPI_COMM_NULL) return;
  int finalized = 0;
  MPI_Finalized(&finalized);
  if (finalized == 0) retired().add(std::exchange(comm_, MPI_COMM_NULL));
}

Result<MPI_Comm> ChannelCommunicators::of(const Group& group) {
  {
    // Two backends may open a channel at the same time: the second waits for the first.
    std::unique_lock lock(mutex_);
    opened_.wait(lock, [&] { return opening_.count(group.channel) == 0; });
    const auto found = communicators_.find(group.channel);
    if (found != communicators_.end()) return found->second.get();
    opening_.insert(group.channel);
  }
  Result<Communicator> made = make(group);
  const std::lock_guard lock(mutex_);
  opening_.erase(group.channel);
  opened_.notify_all();
  if (!made.ok()) return made.status();
  return (communicators_[group.channel] = std::move(*made)).get();
}

Result<Communicator> ChannelCommunicators::make(const Group& group) const {
  MPI_Group all = MPI_GROUP_NULL;
  MPI_Group members = MPI_GROUP_NULL;
  RL_MPI_RETURN_IF_ERROR(MPI_Comm_group(world_, &all));
  RL_MPI_RETURN_IF_ERROR(MPI_Group_incl(all, group.size(), group.ranks.data(), &members));
  MPI_Comm comm = MPI_COMM_NULL;
  RL_MPI_RETURN_IF_ERROR(MPI_Comm_create_group(world_, members, tag_of(group.channel), &comm));
  Communicator owned(comm);
  RL_MPI_RETURN_IF_ERROR(MPI_Comm_set_errhandler(comm, MPI_ERRORS_RETURN));
  RL_MPI_RETURN_IF_ERROR(MPI_Group_free(&members));
  RL_MPI_RETURN_IF_ERROR(MPI_Group_free(&all));
  return owned;
}

}  // namespace ringleader::mpi_transport

// SPDX-License-Identifier: Apache-2.0
#include <ringleader/collectives/mpi_transport/mpi_world.h>

#include <ringleader/collectives/mpi_transport/gather.h>

#include <sys/types.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <map>
#include <string>
#include <utility>

namespace ringleader::mpi_transport {
namespace {

std::atomic<bool> broken{false};
std::atomic<void (*)()> finalize_callback{nullptr};
pid_t owner = 0;  ///< the process that initialized MPI: children made by fork() leave it alone

/// MPI_Abort ends all processes at once. The others learn of a failure within milliseconds, but
/// need some time to report it and to write what they have recorded.
constexpr timespec kTimeToReport{0, 400'000'000};

/// A communicator of all processes that lives as long as MPI runs. A process that ends says so on
/// it, so that processes that begin another session do not wait for it.
class Lifetime {
 public:
  /// Before the first session of the process, creates the communicator. Before later sessions,
  /// waits until all processes are there. Collective. Errors: rank_lost if a process has ended.
  Status meet() {
    if (comm_ == MPI_COMM_NULL) {
      RL_MPI_RETURN_IF_ERROR(MPI_Comm_dup(MPI_COMM_WORLD, &comm_));
      RL_MPI_RETURN_IF_ERROR(MPI_Comm_set_errhandler(comm_, MPI_ERRORS_RETURN));
      return Status();
    }
    MPI_Request all_here = MPI_REQUEST_NULL;
    RL_MPI_RETURN_IF_ERROR(MPI_Ibarrier(comm_, &all_here));
    for (int done = 0;;) {
      RL_MPI_RETURN_IF_ERROR(MPI_Test(&all_here, &done, MPI_STATUS_IGNORE));
      if (done != 0) return Status();
      int ended = 0;
      MPI_Status who;
      RL_MPI_RETURN_IF_ERROR(MPI_Iprobe(MPI_ANY_SOURCE, kEnds, comm_, &ended, &who));
      if (ended != 0) {
        return Status(Code::rank_lost, "init(): process " + std::to_string(who.MPI_SOURCE) +
                                           " has ended, so that no session can begin");
      }
      ::nanosleep(&kLook, nullptr);
    }
  }

  /// Perhaps nobody receives the messages. That does not matter: they are empty, and the process
  /// ends.
  void say_that_it_ends() {
    int size = 0;
    int rank = 0;
    if (comm_ == MPI_COMM_NULL || MPI_Comm_size(comm_, &size) != MPI_SUCCESS ||
        MPI_Comm_rank(comm_, &rank) != MPI_SUCCESS || size > kTellMax) {
      return;
    }
    for (int other = 0; other < size; ++other) {
      MPI_Request sending = MPI_REQUEST_NULL;
      if (other == rank) continue;
      if (MPI_Isend(nullptr, 0, MPI_BYTE, other, kEnds, comm_, &sending) != MPI_SUCCESS) return;
      MPI_Request_free(&sending);
    }
  }

 private:
  static constexpr int kEnds = 0;       ///< the tag
  static constexpr int kTellMax = 256;  ///< with more processes, each would send too much
  static constexpr timespec kLook{0, 1'000'000};
  MPI_Comm comm_ = MPI_COMM_NULL;
};
Lifetime lifetime;

void abort_if_broken() {
  if (!broken) return;
  ::nanosleep(&kTimeToReport, nullptr);
  MPI_Abort(MPI_COMM_WORLD, EXIT_FAILURE);
}

void finalize_at_exit() {
  if (::getpid() != owner) return;
  int finalized = 0;
  MPI_Finalized(&finalized);
  if (finalized != 0) return;
  abort_if_broken();
  lifetime.say_that_it_ends();
  MPI_Finalize();
}

/// When MPI ends, it deletes the attributes of MPI_COMM_SELF first of all (MPI 3.1, 8.7.1).
int self_is_deleted(MPI_Comm /*comm*/, int /*key*/, void* /*value*/, void* /*state*/) {
  if (void (*const callback)() = finalize_callback) callback();
  abort_if_broken();
  if (owner == 0) lifetime.say_that_it_ends();  // the program owns MPI
  return MPI_SUCCESS;
}

Status watch_finalize() {
  static bool watched = false;
  if (std::exchange(watched, true)) return Status();
  int key = MPI_KEYVAL_INVALID;
  RL_MPI_RETURN_IF_ERROR(
      MPI_Comm_create_keyval(MPI_COMM_NULL_COPY_FN, self_is_deleted, &key, nullptr));
  RL_MPI_RETURN_IF_ERROR(MPI_Comm_set_attr(MPI_COMM_SELF, key, nullptr));
  RL_MPI_RETURN_IF_ERROR(MPI_Comm_free_keyval(&key));
  return Status();
}

/// Errors: invalid_argument unless it is a group of processes that includes this one.
Status check_communicator(MPI_Comm comm) {
  if (comm == MPI_COMM_NULL) {
    return Status(
        Code::invalid_argument,
        "init(): the communicator is MPI_COMM_NULL; ranks outside it must not call init()");
  }
  int inter = 0;
  RL_MPI_RETURN_IF_ERROR(MPI_Comm_test_inter(comm, &inter));
  if (inter == 0) return Status();
  return Status(Code::invalid_argument,
                "init(): the communicator is an intercommunicator; merge it with "
                "MPI_Intercomm_merge() and give that one");
}

Status initialize() {
  int finalized = 0;
  RL_MPI_RETURN_IF_ERROR(MPI_Finalized(&finalized));
  if (finalized != 0) {
    return Status(Code::transport,
                  "init(): MPI has been finalized and cannot be started again in this process");
  }
  int initialized = 0;
  RL_MPI_RETURN_IF_ERROR(MPI_Initialized(&initialized));
  if (initialized != 0) return Status();
  int provided = 0;
  // The library itself calls MPI from one thread at a time, but the program may call it
  // concurrently.
  RL_MPI_RETURN_IF_ERROR(MPI_Init_thread(nullptr, nullptr, MPI_THREAD_MULTIPLE, &provided));
  owner = ::getpid();
  std::atexit(finalize_at_exit);
  return Status();
}

/// A name of the node that is equal on all of its ranks and on no others.
Result<std::string> node_name(MPI_Comm comm, int rank, const std::string& host_id) {
  if (!host_id.empty()) return "host " + host_id;
  MPI_Comm node = MPI_COMM_NULL;
  RL_MPI_RETURN_IF_ERROR(
      MPI_Comm_split_type(comm, MPI_COMM_TYPE_SHARED, rank, MPI_INFO_NULL, &node));
  const Communicator owned(node);
  int first = rank;
  RL_MPI_RETURN_IF_ERROR(MPI_Bcast(&first, 1, MPI_INT, 0, node));
  return "node " + std::to_string(first);
}

}  // namespace

Result<MpiWorld> MpiWorld::open(const void* communicator, const std::string& host_id) {
  if (const Status status = initialize(); !status.ok()) return status;
  const MPI_Comm base =
      communicator == nullptr ? MPI_COMM_WORLD : *static_cast<const MPI_Comm*>(communicator);
  if (Status status = check_communicator(base); !status.ok()) return status;
  if (Status status = watch_finalize(); !status.ok()) return status;
  if (communicator == nullptr) {
    if (Status status = lifetime.meet(); !status.ok()) return status;
  }
  Result<Communicator> comm = Communicator::duplicate(base);
  if (!comm.ok()) return comm.status();
  MpiWorld world(std::move(*comm));
  RL_MPI_RETURN_IF_ERROR(MPI_Comm_rank(world.comm(), &world.topology_.rank));
  RL_MPI_RETURN_IF_ERROR(MPI_Comm_size(world.comm(), &world.topology_.size));
  if (const Status status = world.find_nodes(host_id); !status.ok()) return status;
  int provided = MPI_THREAD_SINGLE;
  RL_MPI_RETURN_IF_ERROR(MPI_Query_thread(&provided));
  world.any_thread_ = provided >= MPI_THREAD_SERIALIZED;
  world.concurrent_ = provided == MPI_THREAD_MULTIPLE;
  return world;
}

Status MpiWorld::find_nodes(const std::string& host_id) {
  // Some ranks may have a host_id and others not, but all take part in both calls.
  Result<std::string> name = node_name(comm(), topology_.rank, "");
  if (name.ok() && !host_id.empty()) name = node_name(comm(), topology_.rank, host_id);
  if (!name.ok()) return name.status();
  const Result<std::vector<std::string>> names = gather(comm(), *name);
  if (!names.ok()) return names.status();
  std::map<std::string, int> numbers;
  for (const std::string& other : *names) {
    nodes_.push_back(numbers.emplace(other, static_cast<int>(numbers.size())).first->second);
  }
  const auto own = nodes_.begin() + topology_.rank;
  topology_.local_rank = static_cast<int>(std::count(nodes_.begin(), own, *own));
  topology_.local_size = static_cast<int>(std::count(nodes_.begin(), nodes_.end(), *own));
  return Status();
}

void MpiWorld::on_finalize(void (*callback)()) { finalize_callback = callback; }

void MpiWorld::mark_broken() { broken = true; }

}  // namespace ringleader::mpi_transport

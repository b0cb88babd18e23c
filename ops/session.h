// SPDX-License-Identifier: Apache-2.0
//
// Starting and stopping the library, and who and where this process is.
//
//   ringleader::init();                 // or: ringleader::Session session;
//   std::cout << ringleader::rank() << " of " << ringleader::size() << "\n";
//   ringleader::shutdown();
//
// Without mpirun, or in a build without MPI, the world has one rank and every operation works.
#pragma once

#include <ringleader/core/config.h>

#include <cstdint>
#include <mutex>

namespace ringleader {

/// What init() is given.
struct InitOptions {
  /// Starting values; variables of the environment override them.
  Config config;

  /// Points to an MPI_Comm over which to run instead of MPI_COMM_WORLD, or nullptr. It is
  /// duplicated, and may be freed once init() has returned. Requires that the program has
  /// initialized MPI itself.
  const void* mpi_communicator = nullptr;
};

/// Starts the library. Collective: every rank calls it. Calls MPI_Init_thread if nobody has, asking
/// for MPI_THREAD_MULTIPLE; then MPI_Finalize is called when the process exits. Calling it while
/// the library runs does nothing. A program that calls MPI_Finalize() itself need not call
/// shutdown() before: that is done when MPI_Finalize() begins.
///
/// A child made by fork() is no rank: it may exit or exec, and everything else throws
/// not_initialized there. Memory of allocate() is shared with it.
///
/// Errors, on every rank if on one: invalid_argument for an unusable option or communicator,
/// mismatch if ranks have different settings, transport for a failure of MPI or of the system. Also
/// invalid_argument if the environment says that this process is one of several and MPI says that
/// it is alone (see ops/README.md). Blocks until all ranks have called it.
void init(const InitOptions& options = {});

/// Stops the library on all ranks: operations that have been decided complete, all others end
/// with Code::shutdown on every rank. init() may be called again afterwards. Calling it while the
/// library does not run does nothing. Blocks until this rank has told the others.
void shutdown() noexcept;

/// Whether the library runs: between init() and shutdown().
bool is_initialized();

/// "0.2.0", of the library; RINGLEADER_VERSION_STRING (core/version.h) is that of the headers.
const char* version();

/// For programs that call MPI beside the library where MPI has only MPI_THREAD_SERIALIZED (see
/// MPI_Query_thread): the library makes no call of MPI while the lock lives. Held by one thread for
/// a short time; operations make no progress meanwhile, and no function of the library may be
/// called. With MPI_THREAD_MULTIPLE it is not needed. Errors: not_initialized.
[[nodiscard]] std::unique_lock<std::mutex> lock_mpi();

/// init() and shutdown() tied to a scope.
class Session {
 public:
  /// Calls init().
  explicit Session(const InitOptions& options = {}) { init(options); }
  ~Session() { shutdown(); }
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;
};

/// This process's index and the number of processes; among all, and among those of this node.
/// Errors: not_initialized.
int rank();
/// The number of processes.
int size();
/// This process's index among those of its node.
int local_rank();
/// The number of processes on this node.
int local_size();

/// What the library has sent and moved since init(), on this rank.
struct Counters {
  std::uint64_t control_messages = 0;  ///< messages sent by the negotiation
  std::uint64_t control_bytes = 0;     ///< bytes of those messages
  std::uint64_t batches = 0;           ///< collectives started
  std::uint64_t tensors = 0;           ///< tensors in those collectives
  std::uint64_t messages = 0;          ///< messages between hosts that carried tensors
  std::uint64_t message_bytes = 0;     ///< bytes of those messages
  std::uint64_t loaded_bytes = 0;      ///< bytes that reductions on this rank read
  std::uint64_t stored_bytes = 0;      ///< bytes that they wrote
  std::uint64_t copied_bytes = 0;      ///< bytes copied: packed, staged, or moved as they are
};
/// What has been counted since init() on this rank. Errors: not_initialized.
Counters counters();

}  // namespace ringleader

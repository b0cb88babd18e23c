// SPDX-License-Identifier: Apache-2.0
//
// Starting and stopping the library; the rank and the number of processes.
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

/// Options of init().
struct InitOptions {
  /// Initial settings; environment variables override them.
  Config config;

  /// Points to an MPI_Comm to use instead of MPI_COMM_WORLD, or nullptr. init() duplicates it, so
  /// it may be freed once init() has returned. The program must have initialized MPI itself.
  const void* mpi_communicator = nullptr;
};

/// Starts the library. Collective: every rank calls it. If MPI is not initialized, init() calls
/// MPI_Init_thread, asking for MPI_THREAD_MULTIPLE, and MPI_Finalize is called when the process
/// exits. Does nothing if the library is already running. A program that calls MPI_Finalize()
/// itself need not call shutdown() first: MPI_Finalize() does that when it begins.
///
/// A child made by fork() is not a rank: it may exit or exec; everything else throws
/// not_initialized there. The child shares memory from allocate() with its parent.
///
/// Errors, on every rank if on one: invalid_argument for an unusable option or communicator,
/// mismatch if ranks have different settings, transport for a failure of MPI or of the system. If
/// the environment says that this process is one of several and MPI says that it is alone (see
/// ops/README.md), that is logged, and the first operation throws invalid_argument. Blocks until
/// all ranks have called it.
void init(const InitOptions& options = {});

/// Stops the library on all ranks. Operations that the ranks have already decided on complete; all
/// others end with Code::shutdown on every rank. init() may be called again afterwards. Does
/// nothing if the library is not running. Blocks until this rank has told the others.
void shutdown() noexcept;

/// Whether the library is running, that is, between init() and shutdown().
bool is_initialized();

/// The library's version, "0.2.0"; RINGLEADER_VERSION_STRING (core/version.h) is that of the
/// headers.
const char* version();

/// For programs that call MPI themselves where MPI provides only MPI_THREAD_SERIALIZED (see
/// MPI_Query_thread): the library does not call MPI while the lock is held. Hold it in one thread
/// and only briefly: operations make no progress meanwhile, and no function of the library may be
/// called. Not needed with MPI_THREAD_MULTIPLE. Errors: not_initialized.
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

/// This process's index among all processes.
/// Errors of this and the next three functions: not_initialized.
int rank();
/// The number of processes.
int size();
/// This process's index among the processes on its node.
int local_rank();
/// The number of processes on this node.
int local_size();

/// What the library has sent and moved since init(), on this rank.
struct Counters {
  std::uint64_t control_messages = 0;  ///< messages sent by the negotiation
  std::uint64_t control_bytes = 0;     ///< bytes of those messages
  std::uint64_t batches = 0;           ///< collectives started
  std::uint64_t tensors = 0;           ///< tensors in those collectives
  std::uint64_t messages = 0;          ///< messages between ranks that carried tensors
  std::uint64_t message_bytes = 0;     ///< bytes of those messages
  std::uint64_t loaded_bytes = 0;      ///< bytes that reductions on this rank read
  std::uint64_t stored_bytes = 0;      ///< bytes that those reductions wrote
  std::uint64_t copied_bytes = 0;      ///< bytes copied: packed, staged, or moved as they are
};
/// This rank's counters since init(). Errors: not_initialized.
Counters counters();

}  // namespace ringleader

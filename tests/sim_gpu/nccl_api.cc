// SPDX-License-Identifier: Apache-2.0
//
// The functions of NCCL that the project calls.
#include "communicator.h"
#include "memory.h"

#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <random>
#include <string>
#include <thread>
#include <utility>

using namespace sim_gpu;

struct ncclComm {
  std::shared_ptr<Communicator> communicator = std::make_shared<Communicator>();
  std::shared_ptr<Stream> used;  ///< the last stream that it was called with
};

namespace {

/// Calls of a thread between ncclGroupStart and ncclGroupEnd.
struct Pending {
  ncclComm_t handle;
  cudaStream_t stream;
  std::vector<Call> calls;
};
thread_local int group_depth = 0;
thread_local std::vector<Pending> pending;
thread_local ncclResult_t group_result = ncclSuccess;

thread_local std::vector<ncclComm_t> pending_aborts;

void abort_pending() {
  if (pending_aborts.empty()) return;
  for (const ncclComm_t handle : pending_aborts) handle->communicator->stop = true;
  Stream::wait_for_all();
  for (const ncclComm_t handle : std::exchange(pending_aborts, {})) delete handle;
}

void later(Work work) {
  std::thread([work = std::move(work)] {
    thread_local std::minstd_rand random(
        static_cast<unsigned>(std::hash<std::thread::id>()(std::this_thread::get_id())));
    std::this_thread::sleep_for(std::chrono::microseconds(random() % 300));
    work();
  }).detach();
}

/// Into the stream: at once, or by somebody else after a while.
ncclResult_t enqueue(const Pending& group) {
  const auto communicator = group.handle->communicator;
  const auto stream = Stream::of(group.stream);
  if (stream->device() != communicator->device) return ncclInvalidUsage;
  group.handle->used = stream;
  const Work push = [communicator, stream, calls = group.calls] {
    stream->push([communicator, calls] { run(*communicator, calls); });
    communicator->busy = false;
  };
  if (communicator->blocking) {
    push();
    return ncclSuccess;
  }
  communicator->busy = true;
  later(push);
  return ncclInProgress;
}

ncclResult_t call(ncclComm_t handle, cudaStream_t stream, Call what) {
  for (const void* const memory : {what.input, static_cast<const void*>(what.output)}) {
    if (what.count == 0 || memory == nullptr || is_device_memory(memory, 1)) continue;
    std::fprintf(stderr, "simulated NCCL: memory of the host\n");
    std::abort();
  }
  if (what.op >= ncclNumOps) what.factor = handle->communicator->factors.at(what.op);
  if (handle->communicator->busy) {
    std::fprintf(stderr, "simulated NCCL: a call while the communicator is busy\n");
    group_result = ncclInvalidUsage;
    return ncclInvalidUsage;
  }
  if (group_depth == 0) return enqueue({handle, stream, {what}});
  for (Pending& group : pending) {
    if (group.handle != handle) continue;
    group.calls.push_back(what);
    return ncclSuccess;
  }
  pending.push_back({handle, stream, {what}});
  return ncclSuccess;
}

void connect(const std::shared_ptr<Communicator>& communicator) {
  communicator->transport = std::make_unique<Transport>(communicator->name, communicator->rank,
                                                        communicator->size, communicator->stop);
  communicator->busy = false;
}

}  // namespace

extern "C" {

ncclResult_t ncclGetVersion(int* version) {
  *version = NCCL_VERSION_CODE;
  return ncclSuccess;
}
const char* ncclGetErrorString(ncclResult_t) { return "an error of the simulated NCCL"; }
const char* ncclGetLastError(ncclComm_t) { return ""; }

ncclResult_t ncclGetUniqueId(ncclUniqueId* id) {
  static std::random_device random;
  *id = {};
  std::snprintf(id->internal, sizeof id->internal, "/sim_nccl_%d_%08x", static_cast<int>(getpid()),
                random());
  return ncclSuccess;
}

ncclResult_t ncclCommInitRankConfig(ncclComm_t* handle, int size, ncclUniqueId id, int rank,
                                    ncclConfig_t* config) {
  *handle = new ncclComm;
  const auto communicator = (*handle)->communicator;
  communicator->name = id.internal;
  communicator->rank = rank;
  communicator->size = size;
  communicator->blocking = config->blocking != 0;
  if (communicator->blocking) {
    connect(communicator);
    return ncclSuccess;
  }
  later([communicator] { connect(communicator); });
  return ncclInProgress;
}

ncclResult_t ncclCommGetAsyncError(ncclComm_t handle, ncclResult_t* state) {
  *state = handle->communicator->busy ? ncclInProgress : ncclSuccess;
  return ncclSuccess;
}

ncclResult_t ncclCommFinalize(ncclComm_t handle) {
  if (handle->used == nullptr) return ncclSuccess;
  const auto communicator = handle->communicator;
  communicator->busy = true;
  later([communicator, stream = handle->used] {
    stream->wait();
    communicator->busy = false;
  });
  return ncclInProgress;
}

/// What streams still do with it ends by itself.
ncclResult_t ncclCommDestroy(ncclComm_t handle) {
  delete handle;
  return ncclSuccess;
}
/// Waits for the whole device: kernels of other communicators must be told to end, too.
ncclResult_t ncclCommAbort(ncclComm_t handle) {
  pending_aborts.push_back(handle);
  if (group_depth == 0) abort_pending();
  return ncclSuccess;
}

ncclResult_t ncclRedOpCreatePreMulSum(ncclRedOp_t* op, void* scalar, ncclDataType_t type,
                                      ncclScalarResidence_t, ncclComm_t handle) {
  if (type != ncclFloat32 && type != ncclFloat64) return ncclInvalidArgument;
  static int created = 0;
  *op = static_cast<ncclRedOp_t>(ncclNumOps + created++);
  handle->communicator->factors[*op] = type == ncclFloat64
                                           ? *static_cast<const double*>(scalar)
                                           : double{*static_cast<const float*>(scalar)};
  return ncclSuccess;
}
ncclResult_t ncclRedOpDestroy(ncclRedOp_t op, ncclComm_t handle) {
  return handle->communicator->factors.erase(op) == 1 ? ncclSuccess : ncclInvalidArgument;
}

ncclResult_t ncclGroupStart() {
  ++group_depth;
  return ncclSuccess;
}
ncclResult_t ncclGroupEnd() {
  if (--group_depth > 0) return ncclSuccess;
  abort_pending();
  ncclResult_t result = std::exchange(group_result, ncclSuccess);
  for (const Pending& group : std::exchange(pending, {})) {
    const ncclResult_t one = enqueue(group);
    if (result == ncclSuccess) result = one;
  }
  return result;
}

ncclResult_t ncclAllReduce(const void* input, void* output, size_t count, ncclDataType_t type,
                           ncclRedOp_t op, ncclComm_t handle, cudaStream_t stream) {
  return call(handle, stream, {Kind::all_reduce, input, output, count, type, op, 0});
}
ncclResult_t ncclReduceScatter(const void* input, void* output, size_t count, ncclDataType_t type,
                               ncclRedOp_t op, ncclComm_t handle, cudaStream_t stream) {
  return call(handle, stream, {Kind::reduce_scatter, input, output, count, type, op, 0});
}
ncclResult_t ncclAllGather(const void* input, void* output, size_t count, ncclDataType_t type,
                           ncclComm_t handle, cudaStream_t stream) {
  return call(handle, stream, {Kind::all_gather, input, output, count, type, ncclSum, 0});
}
ncclResult_t ncclBroadcast(const void* input, void* output, size_t count, ncclDataType_t type,
                           int root, ncclComm_t handle, cudaStream_t stream) {
  return call(handle, stream, {Kind::broadcast, input, output, count, type, ncclSum, root});
}
ncclResult_t ncclSend(const void* input, size_t count, ncclDataType_t type, int peer,
                      ncclComm_t handle, cudaStream_t stream) {
  return call(handle, stream, {Kind::send, input, nullptr, count, type, ncclSum, peer});
}
ncclResult_t ncclRecv(void* output, size_t count, ncclDataType_t type, int peer, ncclComm_t handle,
                      cudaStream_t stream) {
  return call(handle, stream, {Kind::receive, nullptr, output, count, type, ncclSum, peer});
}

}  // extern "C"

// SPDX-License-Identifier: Apache-2.0
#include <ringleader/collectives/nccl/communicator.h>

#include <ringleader/core/check.h>

#include <fmt/core.h>

#include <chrono>
#include <cstring>
#include <map>
#include <string>
#include <thread>
#include <vector>

namespace ringleader::nccl {
namespace {

/// Flushing completed work takes milliseconds, but a lost member can hold it up for ever.
constexpr double kCloseTimeoutS = 10;

constexpr int kNonBlockingVersion = NCCL_VERSION(2, 28, 0);

/// The device that a member uses and, from the first member, the unique id.
struct Introduction {
  ncclUniqueId id;
  cudaUUID_t device;
  std::uint32_t channel;
};

std::string bytes_of(const Introduction& introduction) {
  return {reinterpret_cast<const char*>(&introduction), sizeof introduction};
}

Result<Introduction> introduce(const Group& group) {
  Introduction own = {};
  int device = 0;
  RL_CUDA_RETURN_IF_ERROR(cudaGetDevice(&device));
  cudaDeviceProp properties;
  RL_CUDA_RETURN_IF_ERROR(cudaGetDeviceProperties(&properties, device));
  own.device = properties.uuid;
  own.channel = group.channel;
  if (group.rank == 0) {
    Status status = checked(ncclGetUniqueId(&own.id), "ncclGetUniqueId");
    if (!status.ok()) return status;
  }
  return own;
}

/// Checks that no two members use the same device. NCCL would report that only after a while, and
/// would not say which.
Status check_devices(const Group& group, const std::vector<Introduction>& all) {
  std::map<std::string, int> seen;
  for (std::size_t i = 0; i < all.size(); ++i) {
    const std::string uuid(all[i].device.bytes, sizeof all[i].device.bytes);
    const auto [first, fresh] = seen.emplace(uuid, group.ranks[i]);
    if (fresh) continue;
    return Status(Code::invalid_argument,
                  fmt::format("ranks {} and {} use the same GPU, which NCCL does not support; call "
                              "cudaSetDevice(local_rank()) after init(), and start no more ranks "
                              "per node than it has GPUs",
                              first->second, group.ranks[i]));
  }
  return Status();
}

/// Polls the communicator until it is no longer busy. Nothing if that takes too long.
std::optional<Status> settled(const Communicator& communicator, double patience_s) {
  using Seconds = std::chrono::duration<double>;
  const auto deadline = std::chrono::steady_clock::now() + Seconds(patience_s);
  std::optional<Status> state = communicator.state();
  for (; !state && std::chrono::steady_clock::now() < deadline; state = communicator.state()) {
    std::this_thread::yield();
  }
  return state;
}

ncclConfig_t config_of(const NcclConfig& options) {
  ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
  if (options.ctas_min > 0) config.minCTAs = options.ctas_min;
  if (options.ctas_max > 0) config.maxCTAs = options.ctas_max;
  if (options.cga_size > 0) config.cgaClusterSize = options.cga_size;
  if (!options.net_name.empty()) config.netName = options.net_name.c_str();
  return config;
}

}  // namespace

Result<Communicator> Communicator::open(const Group& group, const NcclOptions& options,
                                        const Status& device) {
  const Result<Introduction> own = device.ok() ? introduce(group) : Result<Introduction>(device);
  // Members that have failed still take part, so that nobody waits for them.
  const auto gathered = options.gather(group, own.ok() ? bytes_of(*own) : own.status().message());
  if (!own.ok()) return own.status();
  if (!gathered.ok()) return gathered.status();
  std::vector<Introduction> all(gathered->size());
  for (std::size_t i = 0; i < all.size(); ++i) {
    const std::string& bytes = (*gathered)[i];
    if (bytes.size() != sizeof(Introduction)) {
      return Status(Code::transport, fmt::format("rank {}: {}", group.ranks[i], bytes));
    }
    std::memcpy(&all[i], bytes.data(), sizeof(Introduction));
    RL_CHECK(all[i].channel == group.channel, "channels are opened in the same order on all ranks");
  }
  if (!options.devices_may_be_shared) {
    if (Status status = check_devices(group, all); !status.ok()) return status;
  }

  ncclConfig_t config = config_of(options.config);
  // Before 2.28, two communicators that one thread connects at the same time interfere with each
  // other.
  int version = 0;
  Status asked = checked(ncclGetVersion(&version), "ncclGetVersion");
  if (!asked.ok()) return asked;
  config.blocking = version < kNonBlockingVersion ? 1 : 0;
  Communicator opened;
  Status status = checked(
      ncclCommInitRankConfig(&opened.communicator_, group.size(), all[0].id, group.rank, &config),
      "ncclCommInitRankConfig");
  if (!status.ok()) return status;
  const std::optional<Status> state = settled(opened, options.config.connect_timeout_s);
  if (!state) {
    return Status(Code::transport,
                  fmt::format("NCCL has not connected {} ranks within {} s; NCCL_DEBUG=INFO says "
                              "what it tries",
                              group.size(), options.config.connect_timeout_s));
  }
  if (!state->ok()) return *state;
  return opened;
}

std::optional<Status> Communicator::state() const {
  ncclResult_t state = ncclSuccess;
  Status asked =
      checked(ncclCommGetAsyncError(communicator_, &state), "ncclCommGetAsyncError", communicator_);
  if (!asked.ok()) return asked;
  if (state == ncclInProgress) return std::nullopt;
  return checked(state, "NCCL", communicator_);
}

void Communicator::close() {
  if (communicator_ == nullptr) return;
  static_cast<void>(ncclCommFinalize(communicator_));
  const std::optional<Status> state = settled(*this, kCloseTimeoutS);
  if (!state || !state->ok()) return abort();
  static_cast<void>(ncclCommDestroy(std::exchange(communicator_, nullptr)));
}

void Communicator::abort() {
  if (communicator_ == nullptr) return;
  static_cast<void>(ncclCommAbort(std::exchange(communicator_, nullptr)));
}

}  // namespace ringleader::nccl

// SPDX-License-Identifier: Apache-2.0
#include <ringleader/collectives/mpi_transport/mpi_messages.h>

#include <ringleader/collectives/mpi_transport/checked.h>

#include <cstring>
#include <map>
#include <mutex>
#include <utility>

namespace ringleader::mpi_transport {
namespace {

/// A request is a pointer in Open MPI and an int in MPICH.
static_assert(sizeof(MPI_Request) <= sizeof(p2p::Message::value));

void put(MPI_Request request, p2p::Message& message) {
  std::memcpy(&message.value, &request, sizeof(request));
}

class MpiEndpoint : public p2p::Endpoint {
 public:
  explicit MpiEndpoint(MPI_Comm comm) : comm_(comm) {}

  Status send(int peer, int tag, const std::byte* data, std::int64_t bytes,
              p2p::Message& message) override {
    MPI_Request request = MPI_REQUEST_NULL;
    RL_MPI_RETURN_IF_ERROR(
        MPI_Isend(data, static_cast<int>(bytes), MPI_BYTE, peer, tag, comm_, &request));
    put(request, message);
    return Status();
  }

  Status receive(int peer, int tag, std::byte* data, std::int64_t bytes,
                 p2p::Message& message) override {
    MPI_Request request = MPI_REQUEST_NULL;
    RL_MPI_RETURN_IF_ERROR(
        MPI_Irecv(data, static_cast<int>(bytes), MPI_BYTE, peer, tag, comm_, &request));
    put(request, message);
    return Status();
  }

  Status test(p2p::Message& message, bool& done) override {
    MPI_Request request = MPI_REQUEST_NULL;
    std::memcpy(&request, &message.value, sizeof(request));
    int flag = 0;
    RL_MPI_RETURN_IF_ERROR(MPI_Test(&request, &flag, MPI_STATUS_IGNORE));
    put(request, message);
    done = flag != 0;
    return Status();
  }

 private:
  MPI_Comm comm_;
};

class MpiMessages : public p2p::Transport {
 public:
  explicit MpiMessages(std::shared_ptr<ChannelCommunicators> communicators)
      : communicators_(std::move(communicators)) {}

  Result<p2p::Endpoint*> endpoint(const Group& group) override {
    {
      const std::lock_guard lock(mutex_);
      const auto found = endpoints_.find(group.channel);
      if (found != endpoints_.end()) return &found->second;
    }
    const Result<MPI_Comm> comm = communicators_->of(group);
    if (!comm.ok()) return comm.status();
    const std::lock_guard lock(mutex_);
    // Another backend may have made it meanwhile, and use it already.
    return &endpoints_.try_emplace(group.channel, *comm).first->second;
  }

  void close(std::uint32_t channel) override {
    const std::lock_guard lock(mutex_);
    endpoints_.erase(channel);
    communicators_->close(channel);
  }

 private:
  std::shared_ptr<ChannelCommunicators> communicators_;
  std::mutex mutex_;
  std::map<std::uint32_t, MpiEndpoint> endpoints_;  ///< guarded by mutex_
};

}  // namespace

std::shared_ptr<p2p::Transport> make_transport(
    std::shared_ptr<ChannelCommunicators> communicators) {
  return std::make_shared<MpiMessages>(std::move(communicators));
}

}  // namespace ringleader::mpi_transport

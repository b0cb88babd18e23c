// SPDX-License-Identifier: Apache-2.0
#include "gloo_baseline.h"

#include <gloo/algorithm.h>
#include <gloo/allreduce.h>
#include <gloo/math.h>
#include <gloo/rendezvous/context.h>
#include <gloo/rendezvous/file_store.h>
#include <gloo/transport/tcp/device.h>

#include <stdlib.h>

#include <filesystem>
#include <string>
#include <system_error>

namespace ringleader::benchmarks {
namespace {

/// A folder for Gloo's ranks, which are all on this node, to exchange their addresses in.
class RendezvousFolder {
 public:
  explicit RendezvousFolder(int rank) : is_root_(rank == 0) {
    char name[256] = {};
    if (is_root_) {
      const auto pattern = std::filesystem::temp_directory_path() / "gloo_baseline.XXXXXX";
      pattern.string().copy(name, sizeof name - 1);
      if (::mkdtemp(name) == nullptr) name[0] = '\0';
    }
    MPI_Bcast(name, sizeof name, MPI_CHAR, 0, MPI_COMM_WORLD);
    path_ = name;
  }
  ~RendezvousFolder() {
    MPI_Barrier(MPI_COMM_WORLD);
    std::error_code ignored;
    if (is_root_) std::filesystem::remove_all(path_, ignored);
  }
  RendezvousFolder(const RendezvousFolder&) = delete;
  RendezvousFolder& operator=(const RendezvousFolder&) = delete;

  const std::string& path() const { return path_; }

 private:
  bool is_root_;
  std::string path_;
};

std::shared_ptr<gloo::Context> connect() {
  int rank = 0;
  int size = 0;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  MPI_Comm_size(MPI_COMM_WORLD, &size);
  gloo::transport::tcp::attr attributes;
  attributes.hostname = "127.0.0.1";
  auto device = gloo::transport::tcp::CreateDevice(attributes);
  auto context = std::make_shared<gloo::rendezvous::Context>(rank, size);
  const RendezvousFolder folder(rank);
  gloo::rendezvous::FileStore store(folder.path());
  context->connectFullMesh(store, device);
  return context;
}

}  // namespace

std::function<void()> gloo_allreduce(const Pieces& pieces, DType dtype, ReduceOp op) {
  if (dtype != DType::f32 || op != ReduceOp::sum) return nullptr;
  static const std::shared_ptr<gloo::Context> context = connect();
  return [pieces] {
    for (const Piece& piece : pieces) {
      gloo::AllreduceOptions options(context);
      const auto count = static_cast<std::size_t>(piece.count);
      if (piece.input != piece.output) {
        options.setInput(static_cast<float*>(const_cast<void*>(piece.input)), count);
      }
      options.setOutput(static_cast<float*>(piece.output), count);
      options.setReduceFunction(
          static_cast<void (*)(void*, const void*, const void*, std::size_t)>(&gloo::sum<float>));
      gloo::allreduce(options);
    }
  };
}

}  // namespace ringleader::benchmarks

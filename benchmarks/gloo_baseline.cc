// SPDX-License-Identifier: Apache-2.0
#include "gloo_baseline.h"

#include <gloo/algorithm.h>
#include <gloo/allreduce.h>
#include <gloo/math.h>
#include <gloo/rendezvous/context.h>
#include <gloo/rendezvous/store.h>
#include <gloo/transport/tcp/device.h>

#include <map>
#include <string>

namespace ringleader::benchmarks {
namespace {

/// Gloo's ranks exchange their addresses once; here MPI does it. Each rank sets one key and then
/// waits for those of all, so the exchange is one gather.
class MpiStore : public gloo::rendezvous::Store {
 public:
  void set(const std::string& key, const std::vector<char>& data) override { own_[key] = data; }

  std::vector<char> get(const std::string& key) override {
    gather();
    return all_[key];
  }

  void wait(const std::vector<std::string>& /*keys*/) override { gather(); }
  void wait(const std::vector<std::string>& /*keys*/,
            const std::chrono::milliseconds& /*timeout*/) override {
    gather();
  }

 private:
  void gather() {
    if (!all_.empty()) return;
    std::string mine;
    for (const auto& [key, data] : own_) {
      mine +=
          key + '\n' + std::to_string(data.size()) + '\n' + std::string(data.begin(), data.end());
    }
    int size = 0;
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    for (int root = 0; root < size; ++root) {
      std::string text = mine;
      int bytes = static_cast<int>(text.size());
      MPI_Bcast(&bytes, 1, MPI_INT, root, MPI_COMM_WORLD);
      text.resize(static_cast<std::size_t>(bytes));
      MPI_Bcast(text.data(), bytes, MPI_BYTE, root, MPI_COMM_WORLD);
      for (std::size_t at = 0; at < text.size();) {
        const std::size_t key_end = text.find('\n', at);
        const std::size_t length_end = text.find('\n', key_end + 1);
        const std::size_t length = std::stoul(text.substr(key_end + 1, length_end - key_end - 1));
        const std::string data = text.substr(length_end + 1, length);
        all_[text.substr(at, key_end - at)] = {data.begin(), data.end()};
        at = length_end + 1 + length;
      }
    }
  }

  std::map<std::string, std::vector<char>> own_;
  std::map<std::string, std::vector<char>> all_;
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
  MpiStore store;
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

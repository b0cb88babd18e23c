// SPDX-License-Identifier: Apache-2.0
#include "contenders.h"

#include "gloo_baseline.h"
#include "limit.h"
#include "nccl_baseline.h"

#include <ringleader/collectives/mpi/datatypes.h>
#include <ringleader/ringleader.h>

#include <mpi.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace ringleader::benchmarks {
namespace {

bool has_blocks(Op verb) { return verb != Op::allreduce && verb != Op::broadcast; }

/// Into the default stream and out of it. Under many names, as one in flight keeps its own.
std::function<void()> enqueue(const ConstTensorView& input, const TensorView& output, ReduceOp op) {
  constexpr std::size_t kNames = 64;
  auto names = std::make_shared<std::vector<std::string>>();
  for (std::size_t i = 0; i < kNames; ++i) names->push_back("bench/" + std::to_string(i));
  return [=, next = std::size_t{0}]() mutable {
    allreduce_async((*names)[next++ % kNames], input, output, op).wait(nullptr);
  };
}

}  // namespace

Contenders::Contenders(const BenchOptions& options, std::int64_t count, Placement placement,
                       MpiBaseline& mpi_baseline)
    : verb_(options.verb),
      op_(options.op),
      dtype_(options.dtype),
      count_(count),
      block_(has_blocks(options.verb) ? count / size() : count),
      buffers_(placement, options.dtype, count, count) {
  add_ours(options);
  add_limit(options, placement);
  add_baseline(options, mpi_baseline);
}

void Contenders::add_ours(const BenchOptions& options) {
  const std::int64_t in_count = verb_ == Op::allgather ? block_ : block_ * size();
  const Device device = buffers_.device();
  const ConstTensorView whole(buffers_.input(), {count_}, dtype_, device);
  const ConstTensorView blocks(buffers_.input(), {in_count}, dtype_, device);
  const TensorView out(buffers_.output(), {count_}, dtype_, device);
  std::function<void()> run;
  switch (verb_) {
    case Op::allgather:
      run = [=] { (void)allgather("bench", blocks); };
      break;
    case Op::reduce_scatter:
      run = [=, op = options.op] { (void)reduce_scatter("bench", blocks, op); };
      break;
    case Op::alltoall:
      run = [=] { (void)alltoall("bench", blocks); };
      break;
    case Op::broadcast:
      run = [=] { broadcast("bench", out, 0); };
      break;
    default:
      run = options.enqueue ? enqueue(whole, out, op_)
                            : [=, op = options.op] { allreduce("bench", whole, out, op); };
  }
  all_.push_back({"ringleader", std::move(run)});
}

void Contenders::add_limit(const BenchOptions& options, Placement placement) {
  if (verb_ != Op::allreduce || placement != Placement::arena) return;
  auto run = speed_of_light({{buffers_.input(), buffers_.output(), count_}}, dtype_, options.op);
  if (run == nullptr) return;
  limit_ = all_.size();
  all_.push_back({"limit", std::move(run)});
}

void Contenders::add_baseline(const BenchOptions& options, MpiBaseline& mpi_baseline) {
  if (options.baseline == "none") return;
  const Pieces pieces = {{buffers_.input(), buffers_.output(), count_}};
  std::function<void()> run;
  std::string name = options.baseline;
  if (options.baseline == "gloo") {
    if (verb_ == Op::allreduce) run = gloo_allreduce(pieces, dtype_, options.op);
  } else if (options.baseline == "nccl") {
    if (verb_ == Op::allreduce) run = nccl_allreduce(pieces, dtype_, options.op, options.enqueue);
  } else if (buffers_.device() == Device::host && MpiBaseline::supports(pieces, dtype_)) {
    if (verb_ == Op::allreduce) {
      run = mpi_baseline.allreduce(pieces, dtype_, options.op);
      name += ": " + mpi_baseline.chosen();
    } else {
      run = raw_mpi(options);
    }
  }
  if (run == nullptr) return;
  baseline_ = all_.size();
  all_.push_back({name, std::move(run)});
}

/// MPI's own, from the input to the output, which may be a third buffer as ours makes one.
std::function<void()> Contenders::raw_mpi(const BenchOptions& options) const {
  const MPI_Datatype type = mpi::datatype_of(dtype_);
  const int block = static_cast<int>(block_);
  const int whole = static_cast<int>(count_);
  std::byte* const in = buffers_.input();
  const auto out =
      std::make_shared<std::vector<std::byte>>(static_cast<std::size_t>(count_) * size_of(dtype_));
  switch (verb_) {
    case Op::allgather:
      return [=] { MPI_Allgather(in, block, type, out->data(), block, type, MPI_COMM_WORLD); };
    case Op::reduce_scatter:
      return [=, op = mpi::op_of(options.op)] {
        MPI_Reduce_scatter_block(in, out->data(), block, type, op, MPI_COMM_WORLD);
      };
    case Op::alltoall:
      return [=] { MPI_Alltoall(in, block, type, out->data(), block, type, MPI_COMM_WORLD); };
    default:
      return [=] { MPI_Bcast(in, whole, type, 0, MPI_COMM_WORLD); };
  }
}

std::int64_t Contenders::count_wrong() const {
  if (verb_ != Op::allreduce) return 0;
  buffers_.fill(op_);
  all_[0].run();
  const std::int64_t wrong = buffers_.count_wrong(op_);
  buffers_.clear();
  return wrong;
}

}  // namespace ringleader::benchmarks

// SPDX-License-Identifier: Apache-2.0
#include "mpi_baseline.h"

#include "interleave.h"

#include <ringleader/collectives/mpi/datatypes.h>

#include <cstdlib>
#include <limits>

namespace ringleader::benchmarks {
namespace {

/// Open MPI's names: https://docs.open-mpi.org, component coll/tuned.
struct Algorithm {
  const char* name;
  int number;
  int segment_bytes;
};
constexpr Algorithm kAlgorithms[] = {{"recursive doubling", 3, 0},
                                     {"ring", 4, 0},
                                     {"segmented ring 128K", 5, 128 << 10},
                                     {"segmented ring 1M", 5, 1 << 20},
                                     {"Rabenseifner", 6, 0}};

/// Sets a control variable of MPI; false if there is none.
bool set(const char* name, int value) {
  int index = 0;
  int count = 0;
  MPI_T_cvar_handle handle = MPI_T_CVAR_HANDLE_NULL;
  if (MPI_T_cvar_get_index(name, &index) != MPI_SUCCESS ||
      MPI_T_cvar_handle_alloc(index, nullptr, &handle, &count) != MPI_SUCCESS) {
    return false;
  }
  const bool written = MPI_T_cvar_write(handle, &value) == MPI_SUCCESS;
  MPI_T_cvar_handle_free(&handle);
  return written;
}

}  // namespace

void MpiBaseline::prepare() {
  ::setenv("OMPI_MCA_coll_tuned_use_dynamic_rules", "1", 0);
  int provided = 0;
  MPI_T_init_thread(MPI_THREAD_MULTIPLE, &provided);
}

MpiBaseline::MpiBaseline(bool best) {
  const auto add = [&](const char* name) {
    Variant& variant = variants_.emplace_back();
    variant.name = name;
    MPI_Comm_dup(MPI_COMM_WORLD, &variant.comm);  // which reads the variables
  };
  add("default");
  if (!best) return;
  for (const Algorithm& algorithm : kAlgorithms) {
    if (!set("coll_tuned_allreduce_algorithm", algorithm.number) ||
        !set("coll_tuned_allreduce_algorithm_segmentsize", algorithm.segment_bytes)) {
      break;
    }
    add(algorithm.name);
  }
  set("coll_tuned_allreduce_algorithm", 0);
}

MpiBaseline::~MpiBaseline() {
  for (Variant& variant : variants_) MPI_Comm_free(&variant.comm);
}

bool MpiBaseline::supports(const Pieces& pieces, DType dtype) {
  if (dtype == DType::f16 || dtype == DType::bf16) return false;
  for (const Piece& piece : pieces) {
    if (piece.count > std::numeric_limits<int>::max()) return false;
  }
  return true;
}

std::function<void()> MpiBaseline::allreduce(const Pieces& pieces, DType dtype, ReduceOp op) {
  const MPI_Datatype type = mpi::datatype_of(dtype);
  const MPI_Op mpi_op = mpi::op_of(op);
  std::vector<Contender> contenders;
  for (const Variant& variant : variants_) {
    contenders.push_back({variant.name, [=, comm = variant.comm] {
                            for (const Piece& piece : pieces) {
                              const bool in_place = piece.input == piece.output;
                              MPI_Allreduce(in_place ? MPI_IN_PLACE : piece.input, piece.output,
                                            static_cast<int>(piece.count), type, mpi_op, comm);
                            }
                          }});
  }
  std::size_t fastest = 0;
  if (contenders.size() > 1) {
    const auto times = interleave(contenders, {2, 7, 1});
    for (std::size_t i = 1; i < times.size(); ++i) {
      if (quantile(times[i], 0.5) < quantile(times[fastest], 0.5)) fastest = i;
    }
  }
  chosen_ = contenders[fastest].name;
  return contenders[fastest].run;
}

}  // namespace ringleader::benchmarks

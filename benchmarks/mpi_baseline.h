// SPDX-License-Identifier: Apache-2.0
//
// MPI's own allreduce: as it comes, or with the algorithm of Open MPI's that is fastest for a size.
#pragma once

#include <ringleader/core/types.h>

#include <mpi.h>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace ringleader::benchmarks {

/// What is reduced: tensors in the memory of this rank, each in place or out of place.
struct Piece {
  const void* input = nullptr;
  void* output = nullptr;
  std::int64_t count = 0;
};
using Pieces = std::vector<Piece>;

class MpiBaseline {
 public:
  /// `best`: ready to try all algorithms, which only Open MPI lets a program choose.
  explicit MpiBaseline(bool best);
  ~MpiBaseline();
  MpiBaseline(const MpiBaseline&) = delete;
  MpiBaseline& operator=(const MpiBaseline&) = delete;

  /// Before MPI_Init: lets the algorithms be chosen later.
  static void prepare();

  /// MPI has no 16-bit floats, and its count is an int.
  static bool supports(const Pieces& pieces, DType dtype);

  /// One MPI_Allreduce per piece, with the fastest of the algorithms, which is found out first.
  /// Collective.
  std::function<void()> allreduce(const Pieces& pieces, DType dtype, ReduceOp op);

  /// The algorithm chosen last.
  const std::string& chosen() const { return chosen_; }

 private:
  struct Variant {
    std::string name;
    MPI_Comm comm = MPI_COMM_NULL;
  };

  std::vector<Variant> variants_;
  std::string chosen_;
};

}  // namespace ringleader::benchmarks

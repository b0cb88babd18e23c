// SPDX-License-Identifier: Apache-2.0
#include "limit.h"

#include <ringleader/collectives/kernels/reduce.h>
#include <ringleader/collectives/shm/segment.h>
#include <ringleader/ops/session/arena.h>
#include <ringleader/ringleader.h>

#include <mpi.h>

#include <algorithm>
#include <optional>
#include <utility>

namespace ringleader::benchmarks {
namespace {

/// The arenas of all ranks; empty if some rank cannot map some other's.
const std::vector<std::byte*>& arenas() {
  static const std::vector<std::byte*> bases = [] {
    const auto own = process_arena(0);
    shm::Identity identity;
    if (own != nullptr) identity = own->identity();
    std::vector<shm::Identity> all(static_cast<std::size_t>(size()));
    MPI_Allgather(&identity, sizeof identity, MPI_BYTE, all.data(), sizeof identity, MPI_BYTE,
                  MPI_COMM_WORLD);
    std::vector<std::byte*> found;
    static auto* const mappings = new std::vector<shm::Mapping>;  // as long as the process
    for (const shm::Identity& other : all) {
      Result<shm::Mapping> mapping = shm::Mapping::open(other, nullptr);
      if (!mapping.ok()) break;
      found.push_back(mapping->data());
      mappings->push_back(std::move(*mapping));
    }
    int missing = found.size() == all.size() ? 0 : 1;
    MPI_Allreduce(MPI_IN_PLACE, &missing, 1, MPI_INT, MPI_MAX, MPI_COMM_WORLD);
    if (missing != 0) found.clear();
    return found;
  }();
  return bases;
}

/// One piece of this rank's share: where it is in all arenas.
struct Part {
  std::vector<const void*> inputs;
  std::vector<void*> outputs;
  std::int64_t count = 0;
};

}  // namespace

std::function<void()> speed_of_light(const Pieces& pieces, DType dtype, ReduceOp op) {
  if (arenas().empty()) return nullptr;
  const auto own = process_arena(0);
  const auto element_bytes = static_cast<std::int64_t>(size_of(dtype));
  std::vector<std::int64_t> offsets;
  for (const Piece& piece : pieces) {
    const bool inside = own->contains(piece.input, piece.count * element_bytes) &&
                        own->contains(piece.output, piece.count * element_bytes);
    if (!inside) return nullptr;
    offsets.push_back(own->offset_of(piece.input));
    offsets.push_back(own->offset_of(piece.output));
  }
  const auto ranks = static_cast<std::size_t>(size());
  std::vector<std::int64_t> all(offsets.size() * ranks);
  MPI_Allgather(offsets.data(), static_cast<int>(offsets.size()), MPI_INT64_T, all.data(),
                static_cast<int>(offsets.size()), MPI_INT64_T, MPI_COMM_WORLD);
  std::int64_t total = 0;
  for (const Piece& piece : pieces) total += piece.count;
  const auto [begin, end] = share_of(total, size(), rank());
  std::vector<Part> parts;
  std::int64_t first = 0;
  for (std::size_t i = 0; i < pieces.size(); ++i) {
    const std::int64_t from = std::max(begin - first, std::int64_t{0});
    const std::int64_t to = std::min(end - first, pieces[i].count);
    first += pieces[i].count;
    if (from >= to) continue;
    Part& part = parts.emplace_back();
    part.count = to - from;
    for (std::size_t r = 0; r < ranks; ++r) {
      const std::int64_t* theirs = all.data() + r * offsets.size() + 2 * i;
      part.inputs.push_back(arenas()[r] + theirs[0] + from * element_bytes);
      part.outputs.push_back(arenas()[r] + theirs[1] + from * element_bytes);
    }
  }
  kernels::ReduceSpec spec;
  spec.dtype = dtype;
  spec.op = op;
  spec.divisor = size();
  return [parts = std::move(parts), spec] {
    for (const Part& part : parts) kernels::reduce(spec, part.inputs, part.outputs, part.count);
  };
}

}  // namespace ringleader::benchmarks

// SPDX-License-Identifier: Apache-2.0
//
// Buffers: a rank's input and output of one run, in a given placement, filled with numbers whose
// reductions are exact, and checked.
#pragma once

#include <ringleader/core/types.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

namespace ringleader::benchmarks {

/// arena        in place, in memory that the ranks of a node share
/// inplace      in place, in ordinary memory
/// outofplace   from one piece of ordinary memory to another
/// device       from one piece of a GPU's memory to another: on one rank in place is nothing to do
enum class Placement : std::uint8_t { arena, inplace, outofplace, device };

std::string name_of(Placement placement);

class Buffers {
 public:
  /// `input_count` and `output_count` elements; in place they are the same memory.
  Buffers(Placement placement, DType dtype, std::int64_t input_count, std::int64_t output_count);
  Buffers(const Buffers&) = delete;
  Buffers& operator=(const Buffers&) = delete;

  std::byte* input() const { return input_; }
  std::byte* output() const { return output_; }
  Device device() const;

  /// Element i of this rank becomes element_of(rank, i, op).
  void fill(ReduceOp op);
  /// Zeros stay zeros, so that repeated reductions in place do not overflow.
  void clear();

  /// Elements of the output, over all ranks, that are not those of an allreduce. Collective.
  std::int64_t count_wrong(ReduceOp op) const;

 private:
  std::size_t bytes_of(std::int64_t count) const;
  void copy(void* to, const void* from, std::size_t bytes) const;

  Placement placement_;
  DType dtype_;
  std::int64_t input_count_;
  std::int64_t output_count_;
  std::shared_ptr<std::byte> memory_;  ///< one or two of them
  std::shared_ptr<std::byte> more_memory_;
  std::byte* input_ = nullptr;
  std::byte* output_ = nullptr;
};

}  // namespace ringleader::benchmarks

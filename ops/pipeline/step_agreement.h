// SPDX-License-Identifier: Apache-2.0
//
// StepAgreement: what each rank says about a step, in a small tensor that is summed along with the
// gradients. Ranks that diverge are noticed without an extra message.
//
//   agreement.say({.abandons = false, .steps = steps});       // then its tensor travels
//   const StepHeard heard = agreement.hear(factor);           // the same on all ranks
//
// The tensor, and the number of words where it is not 1:
//
//   | ranks | give up | which: 2 | steps: 2 | scalars: 0 or 10 | contents: 0 or 10 | use ... |
//
// Numbers are compared in digits of 4 bits: digits are equal on n ranks if n times the sum of their
// squares is the square of their sum. Such sums are exact in f32 for 18,000 ranks.
#pragma once

#include <ringleader/core/tensor.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

namespace ringleader {

struct StepSaid {
  int rank = 0;                                ///< world rank
  bool abandons = false;                       ///< the step is given up here
  std::uint64_t steps = 0;                     ///< made so far
  std::optional<std::uint32_t> scalars = {};   ///< a hash of 20 bits, if it is their turn
  std::optional<std::uint32_t> contents = {};  ///< and one of gradients that may be reduced already
};

struct StepHeard {
  int ranks = 0;            ///< that have not joined
  int abandoning = 0;       ///< how many of them give the step up
  int abandoning_rank = 0;  ///< which rank, if there is exactly one
  bool steps_equal = true;
  bool scalars_equal = true;
  bool contents_equal = true;
};

/// Threading: one thread at a time.
class StepAgreement {
 public:
  /// What is compared besides the steps. With neither, the tensor shares a cache line with small
  /// gradients.
  struct Compared {
    bool scalars = false;
    bool contents = false;
  };

  /// parameters  number of parameters whose use is exchanged; 0: none
  /// dtype       f32 or f64
  StepAgreement(const Compared& compared, std::size_t parameters, DType dtype);

  TensorView view();

  /// `used_here` has one entry per parameter.
  void say(const StepSaid& said, const std::vector<bool>& used_here);

  /// This rank has no more data, so it does not count.
  void say_nothing();

  /// Call after the reduction. `factor` turns the tensor's contents into the sum over the ranks.
  StepHeard hear(double factor) const;

  /// Whether any rank has used the parameter.
  bool used(std::size_t parameter) const;

 private:
  void put(std::size_t word, double value);
  double get(std::size_t word) const;
  void put_number(std::size_t word, std::uint64_t number, std::size_t digits);
  bool equal(std::size_t word, std::size_t digits, double ranks, double factor) const;

  DType dtype_;
  Compared compared_;
  std::size_t contents_;  ///< the first word of the contents; likewise `use_`
  std::size_t use_;
  std::size_t parameters_;
  std::vector<double> f64_;
  std::vector<float> f32_;
};

}  // namespace ringleader

// SPDX-License-Identifier: Apache-2.0
#include <ringleader/ops/pipeline/step_agreement.h>

#include <algorithm>
#include <cmath>

namespace ringleader {
namespace {

// A number that is compared takes two words per digit: the digit and its square.
constexpr std::size_t kRanks = 0;
constexpr std::size_t kAbandoning = 1;
constexpr std::size_t kWhichLow = 2;
constexpr std::size_t kWhichHigh = 3;
constexpr std::size_t kSteps = 4;
constexpr std::size_t kHashes = 6;  // hashes that are compared, then the use of parameters
constexpr std::size_t kHashDigits = 5;

constexpr int kLowBits = 12;

}  // namespace

StepAgreement::StepAgreement(const Compared& compared, std::size_t parameters, DType dtype)
    : dtype_(dtype),
      compared_(compared),
      contents_(kHashes + (compared.scalars ? 2 * kHashDigits : 0)),
      use_(contents_ + (compared.contents ? 2 * kHashDigits : 0)),
      parameters_(parameters),
      f64_(dtype == DType::f64 ? use_ + parameters : 0),
      f32_(dtype == DType::f64 ? 0 : use_ + parameters) {}

TensorView StepAgreement::view() {
  return dtype_ == DType::f64 ? TensorView(f64_) : TensorView(f32_);
}

void StepAgreement::put(std::size_t word, double value) {
  if (dtype_ == DType::f64) {
    f64_[word] = value;
  } else {
    f32_[word] = static_cast<float>(value);
  }
}

double StepAgreement::get(std::size_t word) const {
  return dtype_ == DType::f64 ? f64_[word] : static_cast<double>(f32_[word]);
}

void StepAgreement::put_number(std::size_t word, std::uint64_t number, std::size_t digits) {
  for (std::size_t digit = 0; digit < digits; ++digit) {
    const auto value = static_cast<double>((number >> (4 * digit)) & 15U);
    put(word + 2 * digit, value);
    put(word + 2 * digit + 1, value * value);
  }
}

void StepAgreement::say(const StepSaid& said, const std::vector<bool>& used_here) {
  put(kRanks, 1);
  put(kAbandoning, said.abandons ? 1 : 0);
  put(kWhichLow, said.abandons ? said.rank & ((1 << kLowBits) - 1) : 0);
  put(kWhichHigh, said.abandons ? said.rank >> kLowBits : 0);
  put_number(kSteps, said.steps, 1);
  if (compared_.scalars) put_number(kHashes, said.scalars.value_or(0), kHashDigits);
  if (compared_.contents) put_number(contents_, said.contents.value_or(0), kHashDigits);
  for (std::size_t i = 0; i < parameters_; ++i) put(use_ + i, used_here[i] ? 1 : 0);
}

void StepAgreement::say_nothing() {
  std::fill(f64_.begin(), f64_.end(), 0.0);
  std::fill(f32_.begin(), f32_.end(), 0.0F);
}

bool StepAgreement::equal(std::size_t word, std::size_t digits, double ranks, double factor) const {
  for (std::size_t digit = 0; digit < digits; ++digit) {
    const double sum = std::round(get(word + 2 * digit) * factor);
    if (ranks * std::round(get(word + 2 * digit + 1) * factor) != sum * sum) return false;
  }
  return true;
}

StepHeard StepAgreement::hear(double factor) const {
  const auto sum = [&](std::size_t word) { return std::lround(get(word) * factor); };
  StepHeard heard;
  heard.ranks = static_cast<int>(sum(kRanks));
  heard.abandoning = static_cast<int>(sum(kAbandoning));
  heard.abandoning_rank = static_cast<int>(sum(kWhichLow) + (sum(kWhichHigh) << kLowBits));
  heard.steps_equal = equal(kSteps, 1, heard.ranks, factor);
  if (compared_.scalars) heard.scalars_equal = equal(kHashes, kHashDigits, heard.ranks, factor);
  if (compared_.contents) heard.contents_equal = equal(contents_, kHashDigits, heard.ranks, factor);
  return heard;
}

bool StepAgreement::used(std::size_t parameter) const { return get(use_ + parameter) > 0; }

}  // namespace ringleader

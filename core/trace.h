// SPDX-License-Identifier: Apache-2.0
//
// Trace: ranges that a profiler shows beside the program's own. They do nothing unless a tracer is
// installed; a build with CUDA installs one for NVTX.
//
//   const TraceRange range("optimizer");   // until the end of the scope
#pragma once

#include <cstdint>
#include <string_view>
#include <utility>

namespace ringleader {

/// Any thread may call either; a range may end on a different thread than it began on.
struct Tracer {
  std::uint64_t (*begin)(const char* name) = nullptr;  ///< the range's number; 0: nobody watches
  /// Ends the range that has this number from begin(). Any thread.
  void (*end)(std::uint64_t range) = nullptr;
};

/// `tracer` must outlive all ranges; null: no tracer. Threading: any.
void install_tracer(const Tracer* tracer);

/// A range that ends with its scope, or with end().
class TraceRange {
 public:
  TraceRange() = default;

  /// `object` is what the range works on: a tensor's name, or nothing.
  explicit TraceRange(const char* what, std::string_view object = {});
  /// The range goes on in the new object.
  TraceRange(TraceRange&& other) noexcept : range_(std::exchange(other.range_, 0)) {}
  /// Ends this range; the other goes on here.
  TraceRange& operator=(TraceRange&& other) noexcept {
    std::swap(range_, other.range_);
    return *this;
  }
  ~TraceRange() { end(); }

  /// Ends the range now; no effect if it has already ended.
  void end();

 private:
  std::uint64_t range_ = 0;
};

}  // namespace ringleader

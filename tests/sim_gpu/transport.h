// SPDX-License-Identifier: Apache-2.0
//
// Transport: how the members of a simulated communicator, which are processes, exchange bytes: each
// writes into its slot of a shared segment, all meet, all read, all meet.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>

namespace sim_gpu {

class Transport {
 public:
  static constexpr std::size_t kSlotBytes = 256 << 10;

  /// Blocks until all have come. Ends early, with wrong data, once `stop` is set.
  Transport(const std::string& name, int rank, int size, const std::atomic<bool>& stop);
  ~Transport();
  Transport(const Transport&) = delete;
  Transport& operator=(const Transport&) = delete;

  int rank() const { return rank_; }
  int size() const { return size_; }
  std::byte* slot(int rank) const { return slots_ + static_cast<std::size_t>(rank) * kSlotBytes; }

  /// Waits for all members.
  void meet();

  /// `write` fills the own slot with a part of `bytes` bytes that begins at an offset; `read` sees
  /// what all have written. As often as it takes.
  using Part = std::function<void(std::size_t offset, std::size_t bytes)>;
  void exchange(std::size_t bytes, const Part& write, const Part& read);

 private:
  int rank_;
  int size_;
  const std::atomic<bool>& stop_;
  std::byte* segment_ = nullptr;
  std::size_t segment_bytes_ = 0;
  std::atomic<std::uint32_t>* arrived_ = nullptr;  ///< by rank: how often it has met the others
  std::byte* slots_ = nullptr;
  std::uint32_t rendezvous_ = 0;
};

}  // namespace sim_gpu

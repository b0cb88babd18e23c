// SPDX-License-Identifier: Apache-2.0
//
// The control block through which the members of a channel coordinate in shared memory. Each member
// has one in its own segment. The others only read it, except for the counters named here.
//
//   Control | finished        batches for which this member needs nothing more from the others
//           | available[2]    slices put into its two stages
//           | Slot 0 ... 15   one per batch in flight, batch b in slot b % 16
//           | consumed        [stage][member]: slices that this member has taken from each
//           | stages          see channel.h
//
//   Slot    | published       b + 1: everything below is valid for batch b
//           | source, entries what is published: see Source
//           | data            small inputs; they begin in the same cache line
//           | list            offsets
//           | claimed, done   chunks of this member's share; written by all members
//
// Memory order: `published` is stored with release after the rest of the slot, and loaded with
// acquire before it. `available` and `consumed` do the same for the bytes of a stage, and
// `finished` and `done` for the bytes of user tensors. `claimed` and `done` begin at 0
// for each batch; all other counters only grow.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

namespace ringleader::shm {

constexpr std::size_t kCacheLine = 64;

/// Batches that may be published ahead.
constexpr std::uint64_t kSlots = 16;

/// Inputs of at most this many bytes travel in the slot itself, and each rank reduces all of them:
/// one synchronization instead of two.
constexpr std::int64_t kSmallBytes = 8192;

/// Offsets that fit in a slot; longer lists are stored elsewhere.
constexpr std::size_t kListInSlot = 128;

/// Where a member's input is.
enum class Source : std::int32_t {
  none,       ///< the member has no input
  in_slot,    ///< in `data`
  addressed,  ///< in its segment, at the offsets of the list
  staged,     ///< elsewhere; the member passes it through its stage
};

struct Slot {
  alignas(kCacheLine) std::atomic<std::uint64_t> published;
  Source source;
  std::int32_t entries_count;  ///< offsets in the list
  std::int64_t entries;        ///< where the list is in the segment
  std::array<std::byte, kSmallBytes> data;
  std::array<std::int64_t, kListInSlot> list;
  alignas(kCacheLine) std::atomic<std::int64_t> claimed;
  alignas(kCacheLine) std::atomic<std::int64_t> done;
};

/// Each counter has a cache line of its own, because each has different readers at different times.
struct alignas(kCacheLine) Counter {
  std::atomic<std::uint64_t> value;
};

/// The stage for inputs and the stage for results.
enum Stage : std::uint8_t { kInputs, kResults };
constexpr int kStages = 2;

struct Control {
  Counter finished;
  std::array<Counter, kStages> available;
  std::array<Slot, kSlots> slots;
};

static_assert(std::atomic<std::uint64_t>::is_always_lock_free);
static_assert(std::atomic<std::int64_t>::is_always_lock_free);

}  // namespace ringleader::shm

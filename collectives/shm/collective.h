// SPDX-License-Identifier: Apache-2.0
//
// Collective: one batch in progress on a channel.
//
// Every member publishes where its part is (publish). Once all have published, each member works on
// the batch in bounded pieces (advance). The batches of a channel are published ahead and worked on
// one after another.
#pragma once

#include <ringleader/collectives/kernels/reduce.h>
#include <ringleader/collectives/shm/channel.h>
#include <ringleader/core/batch.h>
#include <ringleader/core/status.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <memory_resource>
#include <optional>
#include <utility>
#include <vector>

namespace ringleader::shm {

/// Bytes of a tensor sequence that one advance() works on. This bounds the work of a call, and is
/// the unit in which members take over each other's work.
constexpr std::int64_t kChunkBytes = 256 << 10;

/// A list of a batch, in its channel's memory.
template <typename T>
using List = std::pmr::vector<T>;

/// Makes a T in the channel's memory.
template <typename T, typename... Arguments>
std::shared_ptr<T> make_in(Channel& channel, Arguments&&... arguments) {
  return std::allocate_shared<T>(std::pmr::polymorphic_allocator<T>(channel.memory()),
                                 std::forward<Arguments>(arguments)...);
}

class Collective {
 public:
  Collective(const Batch& batch, Channel& channel, std::uint64_t number)
      : batch_(batch), channel_(channel), number_(number) {}
  virtual ~Collective();
  Collective(const Collective&) = delete;
  Collective& operator=(const Collective&) = delete;

  /// Fills in this member's slot.
  virtual void publish(Slot& slot) = 0;

  /// Called once all members have published. Does a bounded amount of work. Returns the outcome
  /// once this member's result is complete and the others no longer use its tensors.
  virtual std::optional<Status> advance() = 0;

 protected:
  int rank() const { return channel_.rank(); }
  int size() const { return channel_.size(); }
  std::int64_t element_bytes() const { return static_cast<std::int64_t>(size_of(batch_.dtype)); }
  std::int64_t bytes() const { return batch_.count() * element_bytes(); }
  Slot& slot_of(int member) const { return channel_.slot(member, number_); }

  /// The offset of `memory` in this member's segment; -1 if it is elsewhere.
  std::int64_t offset_of(const void* memory, std::int64_t memory_bytes) const;

  /// Publishes offsets, in the slot if they fit there, else elsewhere in the segment. Returns
  /// false, and does nothing, if the segment has no room.
  bool put_list(Slot& slot, const List<std::int64_t>& offsets);

  /// Reads the offsets that a member has published. Errors: bad_message if they cannot be valid.
  Status read_list(int member, List<std::int64_t>& offsets) const;

  const Batch& batch_;
  Channel& channel_;
  std::uint64_t number_;  ///< position of the batch on the channel

 private:
  void* list_ = nullptr;  ///< a list too long for the slot; null if there is none
};

/// Reductions of at most kSmallBytes. They finish in one step, so they need no Collective.
void publish_small(const Batch& batch, Slot& slot);
void reduce_small(const Batch& batch, Channel& channel, std::uint64_t number);

std::shared_ptr<Collective> make_large_reduce(const Batch&, Channel&, std::uint64_t number);
std::shared_ptr<Collective> make_move(const Batch&, Channel&, std::uint64_t number);

/// How a large reduction is carried out, once that is known. The Collective of make_large_reduce()
/// then delegates its advance() to this.
class Way {
 public:
  virtual ~Way() = default;
  virtual std::optional<Status> advance() = 0;
};

/// Where the tensors of all members begin. With T tensors per member, tensor t of member m begins
/// at inputs[m * T + t] and, for allreduce, at outputs[m * T + t].
struct Addresses {
  explicit Addresses(std::pmr::memory_resource* memory) : inputs(memory), outputs(memory) {}
  List<const std::byte*> inputs;
  List<std::byte*> outputs;
};

std::shared_ptr<Way> make_direct_reduce(const Batch&, Channel&, std::uint64_t number, Addresses);
std::shared_ptr<Way> make_staged_reduce(const Batch&, Channel&);

}  // namespace ringleader::shm

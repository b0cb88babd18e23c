// SPDX-License-Identifier: Apache-2.0
//
// IdSet: a set of tensor ids as a sparse bit set. Only words with a set bit are stored, so 161
// consecutive ids travel as 3 words and a single large id as 1.
#pragma once

#include <ringleader/core/protocol/wire.h>

#include <bit>
#include <cstdint>
#include <map>

namespace ringleader::protocol {

class IdSet {
 public:
  void insert(std::uint32_t id) { words_[id / 64] |= std::uint64_t{1} << (id % 64); }

  bool contains(std::uint32_t id) const {
    const auto found = words_.find(id / 64);
    return found != words_.end() && ((found->second >> (id % 64)) & 1) != 0;
  }

  bool empty() const { return words_.empty(); }
  void clear() { words_.clear(); }

  /// Calls visit(id) for each member in ascending order.
  template <typename Visit>
  void for_each(Visit visit) const {
    for (const auto& [index, bits] : words_) {
      for (std::uint64_t rest = bits; rest != 0; rest &= rest - 1) {
        visit(index * 64 + static_cast<std::uint32_t>(std::countr_zero(rest)));
      }
    }
  }

  void encode(Writer& writer) const {
    writer.u64(words_.size());
    std::uint32_t previous = 0;
    for (const auto& [index, bits] : words_) {
      writer.u64(index - previous);
      writer.word(bits);
      previous = index;
    }
  }

  static IdSet decode(Reader& reader) {
    IdSet set;
    const std::size_t words = reader.length();
    std::uint64_t index = 0;
    for (std::size_t i = 0; i < words && reader.ok(); ++i) {
      index += reader.bounded(std::uint64_t{1} << 26);  // ids have 32 bits, words 6 fewer
      const std::uint64_t bits = reader.word();
      if (index < (std::uint64_t{1} << 26) && bits != 0) {
        set.words_[static_cast<std::uint32_t>(index)] = bits;
      }
    }
    return set;
  }

 private:
  std::map<std::uint32_t, std::uint64_t> words_;
};

}  // namespace ringleader::protocol

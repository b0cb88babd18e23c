// SPDX-License-Identifier: Apache-2.0
//
// Bytes that a broken peer could send: whatever they are, their seal is right.
#pragma once

#include <ringleader/core/protocol/wire.h>

#include <algorithm>
#include <utility>

namespace ringleader::protocol {

/// Replaces the last 8 bytes, the seal, by the one that fits the rest.
inline Bytes resealed(Bytes bytes) {
  bytes.erase(bytes.end() - std::min<std::ptrdiff_t>(std::ssize(bytes), 8), bytes.end());
  const std::uint64_t seal = checksum(bytes);
  for (int shift = 0; shift < 64; shift += 8)
    bytes.push_back(static_cast<std::byte>(seal >> shift));
  return bytes;
}

}  // namespace ringleader::protocol

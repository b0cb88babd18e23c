// SPDX-License-Identifier: Apache-2.0
#include <ringleader/ops/memory.h>

#include <ringleader/core/log.h>
#include <ringleader/ops/session/arena.h>
#include <ringleader/ops/session/settings.h>

#include <fmt/core.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <mutex>

namespace ringleader {
namespace {

constexpr std::align_val_t kAlignment{64};

/// Address space to reserve by default: as much as there is physical memory, but no more than 128
/// processes of a node can map of each other.
std::int64_t default_bytes() {
  const std::int64_t physical =
      std::int64_t{::sysconf(_SC_PHYS_PAGES)} * std::int64_t{::sysconf(_SC_PAGESIZE)};
  return std::clamp(physical, std::int64_t{1} << 26, std::int64_t{1} << 38);
}

std::shared_ptr<shm::Segment> create(std::int64_t bytes) {
  Result<std::shared_ptr<shm::Segment>> segment =
      shm::Segment::create(bytes > 0 ? bytes : default_bytes());
  if (segment.ok()) return std::move(*segment);
  log(LogLevel::warning, segment.status().message());
  return nullptr;
}

}  // namespace

std::shared_ptr<shm::Segment> process_arena(std::int64_t bytes) {
  // Never destroyed: what was allocated in it may live as long as the process.
  static auto* const arena = new std::shared_ptr<shm::Segment>(create(bytes));
  return *arena;
}

void* allocate(std::size_t bytes) {
  // Larger than the address space: a product that overflowed.
  constexpr auto kMost = std::size_t{1} << 47;
  if (bytes > kMost) throw std::bad_alloc();
  static const std::int64_t configured = [] {
    const Result<Config> config = config_from_environment(Config());
    return config.ok() ? config->arena_bytes : 0;  // init() reports what is wrong with it
  }();
  const auto arena = process_arena(configured);
  if (arena != nullptr) {
    if (void* const memory = arena->allocate(static_cast<std::int64_t>(bytes))) return memory;
    static std::atomic_flag told = ATOMIC_FLAG_INIT;
    if (!told.test_and_set()) {
      log(LogLevel::warning,
          fmt::format(
              "no {} bytes of shared memory left, {} are in use; tensors in ordinary memory "
              "are copied on the way (see RINGLEADER_ARENA_BYTES)",
              bytes, arena->bytes_used()));
    }
  }
  return ::operator new(std::max<std::size_t>(bytes, 1), kAlignment);
}

void free(void* memory) noexcept {
  if (memory == nullptr) return;
  const auto arena = process_arena(0);
  if (arena != nullptr && arena->free(memory)) return;
  ::operator delete(memory, kAlignment);
}

}  // namespace ringleader

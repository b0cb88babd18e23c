// SPDX-License-Identifier: Apache-2.0
#include "memory.h"

#include <sys/mman.h>

#include <cstdint>
#include <cstring>
#include <map>
#include <mutex>
#include <new>

namespace sim_gpu {
namespace {

constexpr std::size_t kPage = 4096;
constexpr std::size_t kAlignment = 256;  // CUDA's

/// Pages, and inside them at the end what was asked for, so that running over it is noticed.
struct Block {
  std::byte* pages;
  std::size_t page_bytes;
  std::size_t bytes;
};

std::mutex mutex;
std::map<const void*, Block>& blocks() {
  static auto* const all = new std::map<const void*, Block>;
  return *all;
}

Block block_of(void* memory) {
  const std::lock_guard lock(mutex);
  return blocks().at(memory);
}

}  // namespace

void* reserve(std::size_t bytes) {
  if (bytes == 0) return nullptr;
  const std::size_t room = (bytes + kAlignment - 1) / kAlignment * kAlignment;
  const std::size_t page_bytes = (room + kPage - 1) / kPage * kPage;
  // One page more stays inaccessible.
  void* const pages = mmap(nullptr, page_bytes + kPage, PROT_NONE,
                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (pages == MAP_FAILED) throw std::bad_alloc();
  auto* const memory = static_cast<std::byte*>(pages) + (page_bytes - room);
  const std::lock_guard lock(mutex);
  blocks()[memory] = {static_cast<std::byte*>(pages), page_bytes, bytes};
  return memory;
}

void open(void* memory) {
  if (memory == nullptr) return;
  const Block block = block_of(memory);
  mprotect(block.pages, block.page_bytes, PROT_READ | PROT_WRITE);
  std::memset(memory, 0xff, block.bytes);
}

/// The addresses are not used again; the memory is.
void close(void* memory) {
  if (memory == nullptr) return;
  const Block block = block_of(memory);
  mprotect(block.pages, block.page_bytes, PROT_NONE);
  madvise(block.pages, block.page_bytes, MADV_DONTNEED);
  const std::lock_guard lock(mutex);
  blocks().erase(memory);
}

bool is_device_memory(const void* memory, std::size_t bytes) {
  const std::lock_guard lock(mutex);
  auto next = blocks().upper_bound(memory);
  if (next == blocks().begin()) return false;
  const auto& [begin, block] = *--next;
  const auto offset =
      reinterpret_cast<std::uintptr_t>(memory) - reinterpret_cast<std::uintptr_t>(begin);
  return offset + bytes <= block.bytes;
}

}  // namespace sim_gpu

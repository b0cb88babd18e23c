// SPDX-License-Identifier: Apache-2.0
#include "transport.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <stdexcept>
#include <thread>

namespace sim_gpu {
namespace {

constexpr std::size_t kHeaderBytes = 4096;

}  // namespace

Transport::Transport(const std::string& name, int rank, int size, const std::atomic<bool>& stop)
    : rank_(rank), size_(size), stop_(stop) {
  segment_bytes_ = kHeaderBytes + static_cast<std::size_t>(size) * kSlotBytes;
  const int file = shm_open(name.c_str(), O_CREAT | O_RDWR, 0600);
  if (file < 0 || ftruncate(file, static_cast<off_t>(segment_bytes_)) != 0) {
    throw std::runtime_error("the simulated NCCL has no shared memory");
  }
  void* const memory = mmap(nullptr, segment_bytes_, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  ::close(file);
  if (memory == MAP_FAILED) throw std::runtime_error("the simulated NCCL has no shared memory");
  segment_ = static_cast<std::byte*>(memory);
  arrived_ = reinterpret_cast<std::atomic<std::uint64_t>*>(segment_);
  slots_ = segment_ + kHeaderBytes;
  meet();
  shm_unlink(name.c_str());
}

Transport::~Transport() { munmap(segment_, segment_bytes_); }

void Transport::meet() {
  ++meetings_;
  arrived_[rank_].store(meetings_);
  for (int rank = 0; rank < size_; ++rank) {
    while (arrived_[rank].load() < meetings_ && !stop_) {
      std::this_thread::sleep_for(std::chrono::microseconds(20));
    }
  }
}

void Transport::exchange(std::size_t bytes, const Part& write, const Part& read) {
  for (std::size_t offset = 0; offset < bytes && !stop_; offset += kSlotBytes) {
    const std::size_t part = std::min(kSlotBytes, bytes - offset);
    write(offset, part);
    meet();
    read(offset, part);
    meet();
  }
}

}  // namespace sim_gpu

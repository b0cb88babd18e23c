// SPDX-License-Identifier: Apache-2.0
#include "transport.h"

#include <fcntl.h>
#include <linux/futex.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <climits>
#include <ctime>
#include <stdexcept>

namespace sim_gpu {
namespace {

constexpr std::size_t kHeaderBytes = 4096;
constexpr long kStopNs = 5'000'000;  // until it is seen that it is to stop

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
  arrived_ = reinterpret_cast<std::atomic<std::uint32_t>*>(segment_);
  slots_ = segment_ + kHeaderBytes;
  meet();
  shm_unlink(name.c_str());
}

Transport::~Transport() { munmap(segment_, segment_bytes_); }

void Transport::meet() {
  ++rendezvous_;
  arrived_[rank_].store(rendezvous_);
  syscall(SYS_futex, &arrived_[rank_], FUTEX_WAKE, INT_MAX, nullptr, nullptr, 0);
  for (int rank = 0; rank < size_; ++rank) {
    for (std::uint32_t seen = arrived_[rank]; seen < rendezvous_ && !stop_; seen = arrived_[rank]) {
      const timespec patience = {0, kStopNs};
      syscall(SYS_futex, &arrived_[rank], FUTEX_WAIT, seen, &patience, nullptr, 0);
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

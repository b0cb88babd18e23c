// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>

namespace ringleader::nccl {

/// Whether this process has a GPU and a driver that this build can use, and how many. Does not
/// touch a device.
int device_count();

/// The GPU of this rank: the one that is current on the thread that uses device memory first. A
/// program chooses it by its local_rank(), after init(). Threading: any.
class ChosenDevice {
 public:
  /// `otherwise`: of a rank that never used device memory, and takes part in what others do.
  explicit ChosenDevice(int otherwise) : otherwise_(otherwise) {}

  int choose();  ///< on a thread of the program
  int get() const;

 private:
  int otherwise_;
  std::atomic<int> device_{-1};
};

}  // namespace ringleader::nccl

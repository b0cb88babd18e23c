// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>

namespace ringleader::nccl {

/// The number of GPUs of this process; 0 if it has none or no driver that this build can use. Does
/// not touch a device.
int device_count();

/// The GPU of this rank: the one that is current on the first thread that uses device memory. A
/// program chooses it by its local_rank(), after init(). Threading: any thread.
class ChosenDevice {
 public:
  /// `otherwise` is the device of a rank that never used device memory but takes part in what
  /// others do.
  explicit ChosenDevice(int otherwise) : otherwise_(otherwise) {}

  int choose();  ///< called on a thread of the program
  int get() const;

 private:
  int otherwise_;
  std::atomic<int> device_{-1};
};

}  // namespace ringleader::nccl

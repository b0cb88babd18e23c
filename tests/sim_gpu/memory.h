// SPDX-License-Identifier: Apache-2.0
//
// Memory of the simulated GPU. Fresh memory holds ones in all bits, which is NaN.
#pragma once

#include <cstddef>

namespace sim_gpu {

/// Zero bytes have no address.
void* reserve(std::size_t bytes);  ///< inaccessible
void open(void* memory);           ///< accessible from now on
void close(void* memory);          ///< ends the program if it is touched, for ever
bool is_device_memory(const void* memory, std::size_t bytes);

}  // namespace sim_gpu

// SPDX-License-Identifier: Apache-2.0
#include <ringleader/ops/pipeline/optimizer_checks.h>

#include <ringleader/core/status.h>
#include <ringleader/ops/pipeline/combinations.h>
#include <ringleader/ops/session/current_session.h>

#include <fmt/core.h>

#include <bit>
#include <cstdint>
#include <iterator>
#include <map>
#include <mutex>
#include <set>

namespace ringleader {
namespace {

/// Which optimizer has claimed the parameter at an address.
struct Claims {
  std::mutex mutex;
  std::map<const void*, std::string> by_address;
};
Claims& claims() {
  static Claims* const instance = new Claims;  // outlives optimizers with static lifetime
  return *instance;
}

void check_memory(const Slot& slot, const Slot& first, const OptimizerOptions& options) {
  const Device device = slot.gradient.device();
  if (device != slot.parameter.device() || device != first.gradient.device()) {
    refuse(options, fmt::format("'{}': all parameters and gradients must be in the same kind of "
                                "memory",
                                slot.name));
  }
  if (device != Device::host && current_device() == nullptr) {
    throw Error(Status(Code::unsupported,
                       fmt::format("DistributedOptimizer '{}': the gradients are in {} memory, and "
                                   "this build, or some rank, has no such device",
                                   options.name, name_of(device))));
  }
}

void check_tensor(const TensorView& tensor, const Slot& slot, const char* what,
                  const OptimizerOptions& options) {
  if (tensor.count() < 0) {
    refuse(options,
           fmt::format("{} '{}' has the shape {}", what, slot.name, to_string(tensor.shape())));
  }
  if (tensor.count() == 0) return;
  if (tensor.data() == nullptr) {
    refuse(options, fmt::format("{} '{}' has no memory yet: allocate it before the optimizer is "
                                "wrapped",
                                what, slot.name));
  }
  if (reinterpret_cast<std::uintptr_t>(tensor.data()) % size_of(tensor.dtype()) != 0) {
    refuse(options, fmt::format("{} '{}' is not aligned to its elements", what, slot.name));
  }
}

/// Tied weights under two names would be reduced twice, and their gradients would overwrite each
/// other.
void check_overlaps(const std::vector<Slot>& slots, TensorView Slot::*member, const char* what,
                    const OptimizerOptions& options) {
  std::map<const std::byte*, const Slot*> by_address;
  for (const Slot& slot : slots) {
    const auto* const begin = static_cast<const std::byte*>((slot.*member).data());
    const std::size_t bytes = (slot.*member).bytes();
    if (bytes == 0) continue;
    const auto after = by_address.lower_bound(begin);
    const Slot* other = nullptr;
    if (after != by_address.end() && after->first < begin + bytes) {
      other = after->second;
    } else if (after != by_address.begin()) {
      const Slot* const before = std::prev(after)->second;
      const auto* const start = static_cast<const std::byte*>((before->*member).data());
      if (start + (before->*member).bytes() > begin) other = before;
    }
    if (other != nullptr) {
      refuse(options, fmt::format("{} '{}' shares memory with '{}': list what is tied once", what,
                                  slot.name, other->name));
    }
    by_address[begin] = &slot;
  }
}

void check_slots(const std::vector<Slot>& slots, const OptimizerOptions& options) {
  if (slots.empty()) {
    refuse(options, "the optimizer has no parameters; wrap it when it has been given some");
  }
  std::set<std::string> names;
  for (const Slot& slot : slots) {
    if (!names.insert(slot.name).second) {
      refuse(options, fmt::format("two parameters are named '{}'", slot.name));
    }
    const bool fits = slot.parameter.count() == slot.gradient.count() &&
                      slot.parameter.dtype() == slot.gradient.dtype();
    if (!fits) refuse(options, fmt::format("the gradient of '{}' does not fit it", slot.name));
    check_tensor(slot.parameter, slot, "parameter", options);
    check_tensor(slot.gradient, slot, "the gradient of", options);
    check_memory(slot, slots.front(), options);
    const bool narrow = size_of(slot.gradient.dtype()) == 2;
    if (options.virtual_workers > 0 && narrow) {
      refuse(options, fmt::format("virtual_workers need gradients of at least 32 bits, and that of "
                                  "'{}' has 16; keep it in f32",
                                  slot.name));
    }
  }
  check_overlaps(slots, &Slot::parameter, "parameter", options);
  check_overlaps(slots, &Slot::gradient, "the gradient of", options);
}

void check_options(const OptimizerOptions& options) {
  if (options.passes_per_step < 1) refuse(options, "passes_per_step must be at least 1");
  const int workers = options.virtual_workers;
  if (workers == 0) return;
  const int ranks = options.process_set.size();
  if (workers < 0 || !std::has_single_bit(static_cast<unsigned>(workers)) || workers % ranks != 0) {
    refuse(options, fmt::format("virtual_workers is {}: it must be a power of two and a multiple "
                                "of the number of ranks ({})",
                                workers, ranks));
  }
  if (!sums_by_one_tree()) {
    refuse(options,
           "virtual_workers need sums by one tree over the ranks: leave "
           "RINGLEADER_DETERMINISTIC at 1 and RINGLEADER_BACKEND at its default, and let "
           "mpirun number the ranks of a host in a row");
  }
}

}  // namespace

void refuse(const OptimizerOptions& options, std::string_view why) {
  throw Error(Status(Code::invalid_argument,
                     fmt::format("DistributedOptimizer '{}': {}", options.name, why)));
}

void check_optimizer(const std::vector<Slot>& slots, const OptimizerOptions& options) {
  check_options(options);
  check_combinations(options, slots.empty() ? Device::host : slots.front().gradient.device());
  check_slots(slots, options);
}

DType compressed_type(Compression compression) {
  switch (compression) {
    case Compression::none:
      return DType::f32;
    case Compression::fp16:
      return DType::f16;
    case Compression::bf16:
      return DType::bf16;
  }
  return DType::f32;
}

ParameterClaim::ParameterClaim(const std::vector<Slot>& slots, const std::string& optimizer) {
  const std::lock_guard lock(claims().mutex);
  auto& by_address = claims().by_address;
  for (const Slot& slot : slots) {
    const auto other = by_address.find(slot.parameter.data());
    if (slot.parameter.count() == 0 || other == by_address.end()) continue;
    throw Error(Status(Code::invalid_argument,
                       fmt::format("DistributedOptimizer '{}': '{}' is wrapped by "
                                   "DistributedOptimizer '{}' already; its gradient would be "
                                   "reduced twice",
                                   optimizer, slot.name, other->second)));
  }
  for (const Slot& slot : slots) {
    if (slot.parameter.count() == 0) continue;
    if (!by_address.emplace(slot.parameter.data(), optimizer).second) continue;
    addresses_.push_back(slot.parameter.data());
  }
}

ParameterClaim::~ParameterClaim() {
  const std::lock_guard lock(claims().mutex);
  for (const void* const address : addresses_) claims().by_address.erase(address);
}

}  // namespace ringleader

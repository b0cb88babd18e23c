// SPDX-License-Identifier: Apache-2.0
#include <ringleader/ops/optimizer_state.h>

#include <ringleader/core/status.h>
#include <ringleader/ops/broadcast.h>
#include <ringleader/ops/collectives.h>

#include <fmt/core.h>
#include <xxhash.h>

#include <algorithm>
#include <cstdint>
#include <sstream>
#include <utility>

namespace ringleader {
namespace {

/// One line per tensor: type, number of dimensions, extents, name.
std::string written(const std::vector<StateTensor>& tensors) {
  std::ostringstream out;
  for (const StateTensor& tensor : tensors) {
    out << static_cast<int>(tensor.view.dtype()) << " " << tensor.view.shape().size();
    for (const std::int64_t extent : tensor.view.shape()) out << " " << extent;
    out << " " << tensor.name << "\n";
  }
  return out.str();
}

std::vector<StateShape> read(const std::string& text) {
  std::istringstream lines(text);
  std::vector<StateShape> shapes;
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    int dtype = 0;
    std::size_t dimensions = 0;
    StateShape shape;
    words >> dtype >> dimensions;
    const bool sensible = dtype >= 0 && dtype < kDTypeCount && dimensions <= 32;
    for (std::size_t i = 0; sensible && i < dimensions; ++i) words >> shape.shape.emplace_back();
    words.get();
    std::getline(words, shape.name);
    if (!sensible || words.bad()) {
      throw Error(Status(Code::bad_message, "the description of an optimizer's state is damaged"));
    }
    shape.dtype = static_cast<DType>(dtype);
    shapes.push_back(std::move(shape));
  }
  return shapes;
}

}  // namespace

std::optional<std::vector<StateTensor>> state_of_slots(const std::vector<Slot>& slots) {
  std::vector<StateTensor> tensors;
  for (const Slot& slot : slots) {
    for (std::size_t i = 0; i < slot.state.size(); ++i) {
      tensors.push_back({fmt::format("{}/{}", slot.name, i), slot.state[i]});
    }
  }
  if (tensors.empty()) return std::nullopt;
  return tensors;
}

bool identical(std::string_view name, const std::vector<StateTensor>& tensors,
               ProcessSet process_set, SourceLocation where) {
  std::uint64_t hash = 0;
  const auto add = [&hash](const void* data, std::size_t bytes) {
    hash = XXH3_64bits_withSeed(data, bytes, hash);
  };
  for (const StateTensor& tensor : tensors) {
    add(tensor.name.data(), tensor.name.size());
    const auto dtype = static_cast<std::uint64_t>(tensor.view.dtype());
    add(&dtype, sizeof dtype);
    add(tensor.view.data(), tensor.view.bytes());
  }
  auto own = static_cast<std::int64_t>(hash);
  const std::vector<std::int64_t> all =
      allgather(std::string(name) + "/hash", TensorView(&own, {1}), process_set, where)
          .to_vector<std::int64_t>();
  return std::all_of(all.begin(), all.end(), [&](std::int64_t each) { return each == all[0]; });
}

bool parameters_identical(const std::vector<Slot>& slots, ProcessSet process_set,
                          SourceLocation where) {
  std::vector<StateTensor> tensors;
  for (const Slot& slot : slots) tensors.push_back({slot.name, slot.parameter});
  return identical("parameters", tensors, process_set, where);
}

namespace detail {

void broadcast_state(std::string_view name, const std::function<std::vector<StateTensor>()>& state,
                     const std::function<void(const std::vector<StateShape>&)>& shape, int root,
                     ProcessSet process_set, SourceLocation where) {
  const std::string prefix = std::string(name) + "/state";
  std::vector<StateTensor> own = state();
  const std::string description = written(own);
  const auto* const bytes = reinterpret_cast<const std::byte*>(description.data());
  const std::vector<std::byte> received =
      broadcast_object(prefix, {bytes, bytes + description.size()}, root, process_set);
  const std::string wanted(reinterpret_cast<const char*>(received.data()), received.size());
  if (wanted != description && shape != nullptr) {
    shape(read(wanted));
    own = state();
  }
  // All ranks find out together; otherwise those that can go on would wait for those that cannot.
  std::int32_t fits = written(own) == wanted ? 1 : 0;
  ReduceOptions options;
  options.process_set = process_set;
  allreduce(prefix + "/fits", TensorView(&fits, {1}), ReduceOp::min, options, where);
  if (fits == 0) {
    throw Error(Status(Code::mismatch,
                       fmt::format("{}: the optimizers of the ranks keep different tensors from "
                                   "step to step, so rank {}'s cannot be handed over",
                                   name, root)));
  }
  std::vector<Handle> handles;
  for (const StateTensor& tensor : own) {
    handles.push_back(
        broadcast_async(prefix + "/" + tensor.name, tensor.view, root, process_set, where));
  }
  wait_for_all(handles);
}

void throw_state_unknown(std::string_view what, std::string_view name) {
  throw Error(Status(
      Code::unsupported,
      fmt::format("{}: what optimizer '{}' keeps from step to step is not known; describe it "
                  "(Slot::state, or state() of the optimizer or of its adapter)",
                  what, name)));
}

}  // namespace detail
}  // namespace ringleader

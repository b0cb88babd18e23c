// SPDX-License-Identifier: Apache-2.0
#include <ringleader/ops/broadcast.h>

#include <ringleader/ops/collectives.h>

#include <cstring>
#include <string>

namespace ringleader {

void wait_for_all(const std::vector<Handle>& handles) {
  Status first_error;
  for (const Handle& handle : handles) {
    const Status status = handle.status();
    if (first_error.ok()) first_error = status;
  }
  throw_if_error(first_error);
}

void broadcast_parameters(const std::vector<Slot>& slots, int root, ProcessSet process_set,
                          SourceLocation where) {
  std::vector<Handle> handles;
  for (const Slot& slot : slots) {
    handles.push_back(broadcast_async("broadcast_parameters/" + slot.name, slot.parameter, root,
                                      process_set, where));
  }
  wait_for_all(handles);
}

std::vector<std::byte> broadcast_object(std::string_view name, const std::vector<std::byte>& bytes,
                                        int root, ProcessSet process_set, SourceLocation where) {
  const std::string prefix(name);
  auto size = static_cast<std::int64_t>(bytes.size());
  broadcast(prefix + "/size", TensorView(&size, {1}), root, process_set, where);
  std::vector<std::byte> copy(static_cast<std::size_t>(size));
  const bool is_root = process_set.ranks().at(static_cast<std::size_t>(process_set.rank())) == root;
  if (is_root && size > 0) std::memcpy(copy.data(), bytes.data(), bytes.size());
  broadcast(prefix + "/bytes", TensorView(copy), root, process_set, where);
  return copy;
}

}  // namespace ringleader

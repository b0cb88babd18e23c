// SPDX-License-Identifier: Apache-2.0
#include <ringleader/ops/session/world.h>

#include <fmt/core.h>

#include <algorithm>
#include <string_view>

namespace ringleader {

Status prefer_backend(std::vector<std::unique_ptr<Backend>>& backends, const std::string& name) {
  if (name.empty()) return Status();
  const std::string_view wanted = name == "ring" ? "p2p" : name;  // its name until 0.2
  const auto named = std::find_if(backends.begin(), backends.end(),
                                  [&](const auto& backend) { return backend->name() == wanted; });
  if (named != backends.end()) {
    std::rotate(backends.begin(), named, named + 1);
    return Status();
  }
  std::string known;
  for (const auto& backend : backends) known += fmt::format(" {}", backend->name());
  return Status(Code::invalid_argument,
                fmt::format("RINGLEADER_BACKEND={}: there is no such backend; this build has:{}",
                            name, known));
}

}  // namespace ringleader

// SPDX-License-Identifier: Apache-2.0
#include <ringleader/ops/session/settings.h>

#include <ringleader/core/edit_distance.h>
#include <ringleader/core/log.h>
#include <ringleader/core/parse.h>

#include <fmt/core.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <charconv>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <type_traits>
#include <utility>

namespace ringleader {
namespace {

constexpr std::string_view kPrefix = "RINGLEADER_";

Status expected(std::string_view what) {
  return Status(Code::invalid_argument, fmt::format("expected {}", what));
}

/// How the text of a variable becomes a member of Config, and back.
struct Kind {
  std::function<Status(std::string_view, Config&)> parse;
  std::function<std::string(const Config&)> print;
};

/// A member of Config, or of a struct in it.
template <typename T>
auto member(T Config::*value) {
  return [value](auto& config) -> auto& { return config.*value; };
}
template <typename T>
auto member(T NcclConfig::*value) {
  return [value](auto& config) -> auto& { return config.nccl.*value; };
}

template <typename Member>
Kind text(Member member) {
  const auto of = ringleader::member(member);
  return {[of](std::string_view text, Config& config) {
            of(config) = text;
            return Status();
          },
          [of](const Config& config) { return of(config); }};
}

template <typename Member>
Kind boolean(Member member) {
  const auto of = ringleader::member(member);
  return {[of](std::string_view text, Config& config) {
            if (text != "0" && text != "1") return expected("0 or 1");
            of(config) = text == "1";
            return Status();
          },
          [of](const Config& config) { return fmt::format("{:d}", of(config)); }};
}

/// An integer in [low, high] as parse_count() reads it; low is not negative.
template <typename Member>
Kind integer(Member member, std::int64_t low, std::int64_t high) {
  const auto of = ringleader::member(member);
  return {[of, low, high](std::string_view text, Config& config) {
            const std::optional<std::int64_t> number = parse_count(text);
            if (!number || *number < low || *number > high) {
              return expected(fmt::format("a number from {} to {}", low, high));
            }
            using Integer = std::remove_reference_t<decltype(of(config))>;
            of(config) = static_cast<Integer>(*number);
            return Status();
          },
          [of](const Config& config) { return fmt::format("{}", of(config)); }};
}

/// A decimal number that is not negative.
template <typename Member>
Kind seconds(Member member) {
  const auto of = ringleader::member(member);
  return {[of](std::string_view text, Config& config) {
            double number = 0;
            const char* const last = text.data() + text.size();
            const auto [end, error] = std::from_chars(text.data(), last, number);
            const bool parsed = error == std::errc() && end == last;
            if (!parsed || !(number >= 0 && number <= 1e9)) {
              return expected("a number of seconds");
            }
            of(config) = number;
            return Status();
          },
          [of](const Config& config) { return fmt::format("{}", of(config)); }};
}

Kind log_levels() {
  return {[](std::string_view text, Config& config) {
            for (const LogLevel level : {LogLevel::debug, LogLevel::info, LogLevel::warning,
                                         LogLevel::error, LogLevel::off}) {
              if (text != name_of(level)) continue;
              config.log_level = level;
              return Status();
            }
            return expected("debug, info, warning, error or off");
          },
          [](const Config& config) { return std::string(name_of(config.log_level)); }};
}

Kind algorithm_rows() {
  return {[](std::string_view text, Config& config) {
            config.algorithms = text;
            return Status();
          },
          [](const Config& config) {
            std::string rows = config.algorithms;
            std::replace(rows.begin(), rows.end(), '\n', ';');
            return rows;
          }};
}

/// Appends the file's contents to the rows.
Kind algorithms_file() {
  return {[](std::string_view path, Config& config) {
            std::ifstream file{std::string(path)};
            std::ostringstream rows;
            if (!(rows << file.rdbuf())) return expected("a file that can be read");
            config.algorithms += "\n" + rows.str();
            return Status();
          },
          nullptr};
}

Setting setting(std::string_view variable, Scope scope, Kind kind, std::string_view fallback,
                std::string_view meaning) {
  return {variable, scope, meaning, fallback, std::move(kind.parse), std::move(kind.print)};
}

std::vector<Setting> make_settings() {
  using enum Scope;
  constexpr std::int64_t kTera = std::int64_t{1} << 40;
  return {
      setting("RINGLEADER_LOG_LEVEL", rank, log_levels(), "warning",
              "debug, info, warning, error or off"),
      setting("RINGLEADER_HOST_ID", rank, text(&Config::host_id), "what MPI finds",
              "ranks with the same name share memory"),
      setting("RINGLEADER_ARENA_BYTES", rank, integer(&Config::arena_bytes, 1 << 20, 64 * kTera),
              "memory of the machine",
              "address space for memory that the ranks of a node share; the default is between "
              "64 MiB and 256 GiB"),
      setting("RINGLEADER_BACKEND", job, text(&Config::backend), "built-in order",
              "backend to try first: shm, hierarchical, p2p or mpi (inproc without MPI)"),
      setting("RINGLEADER_FUSION_BYTES", job, integer(&Config::fusion_bytes_max, 0, kTera), "4M",
              "largest batch of fused tensors; suffixes K, M, G"),
      setting("RINGLEADER_DETERMINISTIC", job, boolean(&Config::deterministic), "1",
              "1: sum by one tree over the ranks whatever the fusion; 0: allow the ring"),
      setting("RINGLEADER_SEGMENT_BYTES", job,
              integer(&Config::segment_bytes, 0, std::int64_t{1} << 30), "0",
              "bytes of one message between nodes; 0: the best of a few, measured at the start"),
      setting("RINGLEADER_ALGORITHMS", job, algorithm_rows(), "built-in rows",
              "which algorithm reduces between nodes: a name, or rows separated by `;` "
              "([the table](../collectives/p2p/algorithm_table.cc))"),
      setting("RINGLEADER_ALGORITHMS_FILE", rank, algorithms_file(), "none",
              "file with such rows, as `scripts/tune.py` writes it; compared as part of them"),
      setting("RINGLEADER_TREE_RADIX", job, integer(&Config::tree_radix, 1, 32), "8",
              "children per rank of the announcement tree, 1 to 32"),
      setting("RINGLEADER_NAMES_MAX", job, integer(&Config::names_max, 0, 1 << 24), "64K",
              "names that keep an id"),
      setting("RINGLEADER_ALLOW_SINGLE", rank, boolean(&Config::allow_single), "0",
              "1: a world of one is meant, though the environment says that this process is one "
              "of several"),
      setting("RINGLEADER_BACKGROUND_THREAD", rank, boolean(&Config::background_thread), "1",
              "0: progress only while the program waits"),
      setting("RINGLEADER_BLOCKED_GRACE_S", rank, seconds(&Config::blocked_grace_s), "1",
              "if every thread of this rank has waited this many seconds, check for deadlock; "
              "0: never"),
      setting("RINGLEADER_STALL_WARNING_S", rank, seconds(&Config::stall_warning_s), "10",
              "seconds that an operation waits before one warning says for whom; 0: none"),
      setting("RINGLEADER_STALL_ABORT_S", rank, seconds(&Config::stall_abort_s), "300",
              "seconds that an operation waits before all ranks fail; 0: never"),
      setting("RINGLEADER_FLIGHT_DIR", rank, text(&Config::flight_dir), "none",
              "folder for the flight recorder's files; without it no signal handler is "
              "installed"),
      setting("RINGLEADER_NCCL_HIERARCHICAL", job, boolean(&NcclConfig::hierarchical), "0",
              "GPUs: 1: reduce inside nodes, then between, then share inside; 0: as NCCL sees "
              "the network"),
      setting("RINGLEADER_NCCL_CTAS_MIN", job, integer(&NcclConfig::ctas_min, 0, 64), "0",
              "fewest thread blocks of a collective, up to 64; 0: NCCL's choice"),
      setting("RINGLEADER_NCCL_CTAS_MAX", job, integer(&NcclConfig::ctas_max, 0, 64), "0",
              "most thread blocks of a collective; fewer leave more of the GPU to the program"),
      setting("RINGLEADER_NCCL_CGA_SIZE", job, integer(&NcclConfig::cga_size, 0, 8), "0",
              "thread blocks in a cluster, up to 8; 0: NCCL's choice"),
      setting("RINGLEADER_NCCL_NET", job, text(&NcclConfig::net_name), "NCCL's choice",
              "NCCL's network: Socket, IB or a plugin's name"),
      setting("RINGLEADER_NCCL_CONNECT_TIMEOUT_S", rank, seconds(&NcclConfig::connect_timeout_s),
              "60", "seconds for a communicator to be made"),
  };
}

std::optional<std::string_view> read(const char* variable) {
  const char* value = std::getenv(variable);
  if (value == nullptr || *value == '\0') return std::nullopt;
  return value;
}

/// Whether a variable belongs to programs around the library: the tests, the scripts.
bool is_of_others(std::string_view variable) {
  for (const std::string_view prefix : {"RINGLEADER_TEST_", "RINGLEADER_BENCH_"}) {
    if (variable.substr(0, prefix.size()) == prefix) return true;
  }
  return false;
}

}  // namespace

const std::vector<Setting>& settings() {
  static const auto* const table = new std::vector<Setting>(make_settings());
  return *table;
}

Result<Config> config_from_environment(Config config) {
  for (const Setting& setting : settings()) {
    const auto value = read(setting.variable.data());
    if (!value) continue;
    if (const Status status = setting.parse(*value, config); !status.ok()) {
      return Status(status.code(),
                    fmt::format("{}={}: {}", setting.variable, *value, status.message()));
    }
  }
  return config;
}

void warn_of_unknown_variables() {
  static std::atomic_flag told = ATOMIC_FLAG_INIT;
  if (told.test_and_set()) return;
  for (char** entry = environ; entry != nullptr && *entry != nullptr; ++entry) {
    const std::string_view assignment(*entry);
    const std::string name(assignment.substr(0, assignment.find('=')));
    if (assignment.substr(0, kPrefix.size()) != kPrefix || is_of_others(name)) continue;
    const auto distance = [&name](const Setting& setting) {
      return edit_distance(name, setting.variable);
    };
    const auto closest = std::min_element(
        settings().begin(), settings().end(),
        [&](const Setting& a, const Setting& b) { return distance(a) < distance(b); });
    if (closest->variable == name) continue;
    log(LogLevel::warning, fmt::format("{} is set, and there is no such variable; did you mean {}?",
                                       name, closest->variable));
  }
}

std::optional<std::int64_t> number_from_environment(const char* variable) {
  const auto value = read(variable);
  return value ? parse_count(*value) : std::nullopt;
}

bool nccl_hosts_are_named() { return read("NCCL_HOSTID").has_value(); }

std::string job_settings(const Config& config) {
  std::string lines;
  for (const Setting& setting : settings()) {
    if (setting.scope != Scope::job) continue;
    lines += fmt::format("{}={}\n", setting.variable, setting.print(config));
  }
  return lines + fmt::format("NCCL_HOSTID set={:d}\n", nccl_hosts_are_named());
}

Status compare_job_settings(const std::vector<std::string>& all) {
  for (std::size_t rank = 1; rank < all.size(); ++rank) {
    if (all[rank] == all[0]) continue;
    std::istringstream first(all[0]);
    std::istringstream other(all[rank]);
    for (std::string a, b; std::getline(first, a);) {
      std::getline(other, b);
      if (a == b) continue;
      return Status(Code::mismatch,
                    fmt::format("settings differ: {} on rank 0, {} on rank {}; make them equal on "
                                "all ranks",
                                a, b, rank));
    }
    return Status(Code::mismatch, fmt::format("rank {} runs another version of the library", rank));
  }
  return Status();
}

}  // namespace ringleader

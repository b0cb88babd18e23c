// SPDX-License-Identifier: Apache-2.0
#include "../support/catch.h"

#include <ringleader/ops/session/settings.h>

#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

using namespace ringleader;

namespace {

/// As README.md has it.
std::string row_of(const Setting& setting) {
  std::string row = "| `";
  row += setting.variable;
  row += "` | ";
  row += setting.meaning;
  row += " | ";
  row += setting.fallback;
  return row + " |";
}

Result<Config> configured_by(const char* variable, const char* value) {
  setenv(variable, value, 1);
  Result<Config> config = config_from_environment(Config());
  unsetenv(variable);
  return config;
}

}  // namespace

TEST_CASE("ops/README.md prints the table of settings, and no other variable") {
  std::ifstream file(RINGLEADER_SOURCE_DIR "/ops/README.md");
  std::string printed;
  for (std::string line; std::getline(file, line);) {
    if (line.rfind("| `RINGLEADER_", 0) == 0) printed += line + "\n";
  }
  std::string table;
  for (const Setting& setting : settings()) table += row_of(setting) + "\n";
  CHECK(printed == table);
}

TEST_CASE("the documented default of a setting is the default, and is a value that is accepted") {
  int compared = 0;
  for (const Setting& setting : settings()) {
    INFO(setting.variable);
    Config config;
    if (!setting.print || setting.print(config).empty()) continue;  // described in words
    if (setting.variable == "RINGLEADER_ARENA_BYTES") continue;     // likewise
    const Status status = setting.parse(setting.fallback, config);
    INFO(status.message());
    CHECK(status.ok());
    CHECK(setting.print(config) == setting.print(Config()));
    ++compared;
  }
  CHECK(compared == 16);
}

TEST_CASE("a setting that differs between ranks is named where the job depends on it") {
  for (const Setting& setting : settings()) {
    INFO(setting.variable);
    if (!setting.print) continue;
    Config other;
    for (const char* const value : {"3", "1", "0", "debug", "x"}) {
      other = Config();
      const bool set = setting.parse(value, other).ok();
      if (set && setting.print(other) != setting.print(Config())) break;
    }
    if (setting.variable == "RINGLEADER_ARENA_BYTES") REQUIRE(setting.parse("2M", other).ok());
    REQUIRE(setting.print(other) != setting.print(Config()));
    const Status status = compare_job_settings({job_settings(Config()), job_settings(other)});
    CHECK(status.ok() == (setting.scope == Scope::rank));
    if (!status.ok()) {
      CHECK(status.code() == Code::mismatch);
      CHECK(status.message().find(setting.variable) != std::string::npos);
      CHECK(status.message().find("rank 1") != std::string::npos);
    }
  }
}

TEST_CASE("a value that cannot be used is refused with the variable and what was expected") {
  const Result<Config> wrong = configured_by("RINGLEADER_TREE_RADIX", "33");
  REQUIRE(!wrong.ok());
  CHECK(wrong.status().message() == "RINGLEADER_TREE_RADIX=33: expected a number from 1 to 32");
  CHECK(configured_by("RINGLEADER_TREE_RADIX", "32")->tree_radix == 32);
  CHECK(configured_by("RINGLEADER_STALL_ABORT_S", "0.5")->stall_abort_s == 0.5);
  CHECK(configured_by("RINGLEADER_FUSION_BYTES", "2M")->fusion_bytes_max == 2 << 20);
  CHECK(configured_by("RINGLEADER_DETERMINISTIC", "")->deterministic);  // empty is not set
  CHECK(!configured_by("RINGLEADER_DETERMINISTIC", "0")->deterministic);
  CHECK(!configured_by("RINGLEADER_DETERMINISTIC", "no").ok());
  CHECK(!configured_by("RINGLEADER_STALL_ABORT_S", "-1").ok());
  CHECK(configured_by("RINGLEADER_NCCL_CTAS_MAX", "8")->nccl.ctas_max == 8);
}

TEST_CASE("rows of the algorithm table come from the variable, then from the file") {
  const std::string path = std::filesystem::temp_directory_path().string() +
                           "/ringleader_settings_test." + std::to_string(::getpid());
  std::ofstream(path) << "* * * ring\n";
  setenv("RINGLEADER_ALGORITHMS", "* * 4K everybody", 1);
  const Result<Config> config = configured_by("RINGLEADER_ALGORITHMS_FILE", path.c_str());
  unsetenv("RINGLEADER_ALGORITHMS");
  std::remove(path.c_str());
  REQUIRE(config.ok());
  CHECK(config->algorithms == "* * 4K everybody\n* * * ring\n");
  CHECK(!configured_by("RINGLEADER_ALGORITHMS_FILE", path.c_str()).ok());  // it is gone
}

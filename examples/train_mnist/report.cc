// SPDX-License-Identifier: Apache-2.0
#include "report.h"

#include <unistd.h>

#include <cstdio>
#include <fstream>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <utility>

#include "stop.h"

namespace train_mnist {
namespace {

using Seconds = std::chrono::duration<double>;

/// Ten times a second looks continuous and costs nothing.
constexpr Seconds kDrawEvery{0.1};
constexpr int kBarWidth = 30;

}  // namespace

Report::Report(RunDescription description, int epochs, bool speaks, bool progress)
    : description_(std::move(description)),
      epochs_(epochs),
      speaks_(speaks),
      draws_(speaks && progress && isatty(STDOUT_FILENO) != 0) {}

void Report::begin() const {
  if (!speaks_) return;
  std::printf("%d rank%s on %s, %s, %lld training and %lld test images\n", description_.ranks,
              description_.ranks == 1 ? "" : "s", description_.device.c_str(),
              description_.dataset.c_str(), static_cast<long long>(description_.train_count),
              static_cast<long long>(description_.test_count));
  std::fflush(stdout);
}

void Report::step(std::int64_t done, std::int64_t total, std::int64_t images, double loss) {
  if (!draws_) return;
  const Clock::time_point now = Clock::now();
  if (done == 1) epoch_start_ = now;
  if (done < total && now - last_drawn_ < kDrawEvery) return;
  last_drawn_ = now;
  const auto filled = static_cast<std::size_t>(kBarWidth * done / total);
  const std::string bar = std::string(filled, '#') + std::string(kBarWidth - filled, '.');
  const double seconds = Seconds(now - epoch_start_).count();
  const double rate = seconds > 0 ? static_cast<double>(images) / seconds : 0;
  std::printf("\repoch %d/%d [%s] %.0f images/s, loss %.4f ", epochs_done_ + 1, epochs_,
              bar.c_str(), rate, loss);
  std::fflush(stdout);
}

void Report::epoch(const EpochResult& result) {
  ++epochs_done_;
  if (!speaks_) return;
  constexpr const char* kEraseLine = "\r\x1b[K";
  std::printf("%sepoch %d/%d: loss %.4f, test accuracy %.2f %%, %.0f images/s, %.1f s\n",
              draws_ ? kEraseLine : "", epochs_done_, epochs_, result.train_loss,
              100 * result.test_accuracy, result.images_per_second, result.seconds);
  std::fflush(stdout);
}

void Report::end(const RunResult& result) const {
  if (!speaks_ || !result.parameters_identical) return;
  std::printf("parameters identical on %d rank%s: hash %s\n", description_.ranks,
              description_.ranks == 1 ? "" : "s", to_hex(result.parameters_hash).c_str());
  std::fflush(stdout);
}

void Report::write_json(const std::string& path, const RunResult& result) const {
  if (!speaks_ || path.empty()) return;
  nlohmann::ordered_json json = {{"ranks", description_.ranks},
                                 {"device", description_.device},
                                 {"dataset", description_.dataset}};
  json["epochs"] = nlohmann::ordered_json::array();
  for (const EpochResult& epoch : result.epochs) {
    json["epochs"].push_back({{"train_loss", epoch.train_loss},
                              {"test_accuracy", epoch.test_accuracy},
                              {"images_per_second", epoch.images_per_second},
                              {"seconds", epoch.seconds}});
  }
  json["steps_loss"] = result.steps_loss;
  json["parameters_identical"] = result.parameters_identical;
  json["parameters_hash"] = to_hex(result.parameters_hash);
  std::ofstream file(path);
  file << json.dump(2) << '\n';
  file.flush();
  if (!file) throw std::runtime_error("--json: writing " + path + " failed");
}

void require_writable(const std::string& path) {
  const std::ofstream file(path, std::ios::app);
  if (!file) throw Stop(kExitUsage, "--json: " + path + " cannot be written");
}

std::string to_hex(std::uint64_t value) {
  char text[17];
  std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(value));
  return text;
}

}  // namespace train_mnist

// SPDX-License-Identifier: Apache-2.0
//
// The conformance suite on a backend that needs MPI:
//
//   mpirun -np 3 mpi_conformance p2p [large|arena|device|stress]
//
// arena: with tensors in shared memory. device: in a GPU's. stress: random batches instead.
//
// Prints the failures of each rank; exits with 1 if there are any, and with 77 if there is no GPU.
#include "conformance.h"
#include "moving_backend.h"
#include "shm_stress.h"

#include <ringleader/core/config.h>
#include <ringleader/ops/session/arena.h>
#include <ringleader/ops/session/settings.h>
#include <ringleader/ops/session/world.h>

#include <cstdio>
#include <memory>
#include <string>

using namespace ringleader;

namespace {

/// Tells ctest that the test was skipped.
constexpr int kSkipped = 77;

int run(World& world, const std::string& name, const std::string& mode) {
  if (mode == "device" && world.device == nullptr) {
    if (world.topology.rank == 0) std::printf("skipped: this build or this machine has no GPU\n");
    return kSkipped;
  }
  const Status status = prefer_backend(world.backends, name);
  if (!status.ok()) {
    std::fprintf(stderr, "%s\n", status.message().c_str());
    return 2;
  }
  const bool large = mode == "large";
  test::Watchdog watchdog(std::chrono::seconds(large ? 120 : 60));
  auto group = std::make_shared<Group>();
  for (int i = 0; i < world.topology.size; ++i) group->ranks.push_back(i);
  group->rank = world.topology.rank;
  Backend& backend = *world.backends.front();
  if (mode == "stress") {
    const auto wrong = test::stress(backend, *process_arena(0), group, 200, watchdog);
    for (const std::string& text : wrong) std::printf("%s\n", text.c_str());
    return wrong.empty() ? 0 : 1;
  }
  std::unique_ptr<test::MovingBackend> moving;
  if (mode == "arena") {
    moving = std::make_unique<test::MovingBackend>(backend, test::in_segment(*process_arena(0)));
  } else if (mode == "device") {
    moving = std::make_unique<test::MovingBackend>(backend, test::on_device(*world.device));
  }
  test::Conformance suite(moving ? *moving : backend, group, watchdog);
  if (large) {
    suite.run_large();
  } else {
    suite.run();
  }
  for (const std::string& failure : suite.failures()) std::printf("%s\n", failure.c_str());
  if (world.topology.rank == 0) {
    std::printf("%s: %d cases on %d ranks\n", name.c_str(), suite.cases(), world.topology.size);
  }
  return suite.failures().empty() ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) return 2;
  const Result<Config> config = config_from_environment(Config());
  if (!config.ok()) return 2;
  Result<World> world = open_world(nullptr, *config, Status());
  if (!world.ok()) {
    std::fprintf(stderr, "%s\n", world.status().message().c_str());
    return 2;
  }
  return run(*world, argv[1], argc > 2 ? argv[2] : "");
}

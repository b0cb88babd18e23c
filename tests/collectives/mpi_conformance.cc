// SPDX-License-Identifier: Apache-2.0
//
// The conformance suite on a backend that needs MPI:
//
//   mpirun -np 3 mpi_conformance ring [large]
//
// Prints the failures of each rank; exits with 1 if there are any.
#include "conformance.h"

#include <ringleader/core/config.h>
#include <ringleader/ops/env.h>
#include <ringleader/ops/world.h>

#include <cstdio>
#include <string>

using namespace ringleader;

namespace {

int run(World& world, const std::string& name, bool large) {
  const Status status = prefer_backend(world.backends, name);
  if (!status.ok()) {
    std::fprintf(stderr, "%s\n", status.message().c_str());
    return 2;
  }
  test::Watchdog watchdog(std::chrono::seconds(large ? 120 : 60));
  auto group = std::make_shared<Group>();
  for (int i = 0; i < world.topology.size; ++i) group->ranks.push_back(i);
  group->rank = world.topology.rank;
  test::Conformance suite(*world.backends.front(), group, watchdog);
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
  Result<World> world = open_world(nullptr, *config);
  if (!world.ok()) {
    std::fprintf(stderr, "%s\n", world.status().message().c_str());
    return 2;
  }
  return run(*world, argv[1], argc > 2 && std::string(argv[2]) == "large");
}

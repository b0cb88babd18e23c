// SPDX-License-Identifier: Apache-2.0
#include "catch_runner.h"

#if RINGLEADER_CATCH2_MAJOR < 3
#define CATCH_CONFIG_RUNNER
#endif
#include "catch.h"

namespace ringleader::test {

int run_cases(int argc, char** argv) { return Catch::Session().run(argc, argv); }

}  // namespace ringleader::test

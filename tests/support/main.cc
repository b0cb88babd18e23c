// SPDX-License-Identifier: Apache-2.0
//
// The main function of all unit tests.
#if RINGLEADER_CATCH2_MAJOR < 3
#define CATCH_CONFIG_RUNNER
#endif
#include "catch.h"

int main(int argc, char** argv) { return Catch::Session().run(argc, argv); }

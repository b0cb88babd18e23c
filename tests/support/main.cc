// SPDX-License-Identifier: Apache-2.0
//
// The main function of all unit tests.
#include "catch_runner.h"

int main(int argc, char** argv) { return ringleader::test::run_cases(argc, argv); }

// SPDX-License-Identifier: Apache-2.0
//
// Catch2's session behind one function: its header takes half a minute to compile, so that is done
// once for all test programs.
#pragma once

namespace ringleader::test {

/// Runs the cases that the command line selects; the exit code.
int run_cases(int argc, char** argv);

}  // namespace ringleader::test

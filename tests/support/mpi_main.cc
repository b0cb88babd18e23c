// SPDX-License-Identifier: Apache-2.0
//
// The main function of tests that run under mpirun.
#include "mpi_main.h"

int main(int argc, char** argv) { return ringleader::test::run_cases_under_mpi(argc, argv); }

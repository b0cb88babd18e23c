// SPDX-License-Identifier: Apache-2.0
//
// The first program: every rank contributes its number, every rank gets the sum.
//
//   $ mpirun -np 2 ./hello_allreduce
//   rank 0 of 2: the ranks add up to 1
//   rank 1 of 2: the ranks add up to 1
#include <ringleader/ringleader.h>

#include <cstdio>
#include <vector>

int main() {
  const ringleader::Session session;

  std::vector<float> values = {static_cast<float>(ringleader::rank())};
  ringleader::allreduce("hello", values, ringleader::ReduceOp::sum);

  std::printf("rank %d of %d: the ranks add up to %g\n", ringleader::rank(), ringleader::size(),
              static_cast<double>(values[0]));
}

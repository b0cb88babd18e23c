# SPDX-License-Identifier: Apache-2.0
"""hello_allreduce prints what its first comment promises."""

import re
import unittest

import harness

PROGRAM = str(harness.BUILD / "examples" / "hello_allreduce")


def expected(size):
    total = sum(range(size))
    return [f"rank {rank} of {size}: the ranks add up to {total}" for rank in range(size)]


@unittest.skipUnless(harness.Path(PROGRAM).exists(), "the examples were not built")
class Hello(unittest.TestCase):
    def test_without_mpirun_it_is_a_world_of_one(self):
        run = harness.run([PROGRAM], timeout_s=60)
        self.assertEqual(run.exit_code, 0, run.text)
        self.assertEqual(run.out, expected(1))

    @unittest.skipUnless(harness.MPIRUN, "built without MPI")
    def test_every_rank_gets_the_sum(self):
        for size in (1, 2, 4):
            run = harness.run([PROGRAM], timeout_s=60, ranks=size)
            self.assertEqual(run.exit_code, 0, run.text)
            self.assertEqual(sorted(run.out), expected(size))

    def test_the_comment_shows_the_output_of_two_ranks(self):
        source = (harness.SOURCE / "examples" / "hello_allreduce.cc").read_text()
        self.assertEqual(re.findall(r"^//   (rank .*)$", source, re.MULTILINE), expected(2))
        self.assertLess(len(source.splitlines()), 40)


if __name__ == "__main__":
    harness.main()

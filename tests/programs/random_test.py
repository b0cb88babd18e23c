# SPDX-License-Identifier: Apache-2.0
"""Random programs (random_program.cc) on 2 to 5 ranks.

  random_test.py                        # 52 of them
  random_test.py --soak FIRST COUNT     # as scripts/program_soak.sh runs it
"""

import sys
import unittest

import harness

PROGRAM = str(harness.BUILD / "tests" / "random_program")


def failure_of(first, count, ranks):
    """What went wrong with these seeds; empty if nothing did."""
    run = harness.run([PROGRAM, str(first), str(count)], timeout_s=600, ranks=ranks)
    return "" if run.exit_code == 0 else f"seeds {first} to {first + count - 1}: {run.text}"


@unittest.skipUnless(harness.MPIRUN, "built without MPI")
class RandomPrograms(unittest.TestCase):
    def test_they_compute_what_one_rank_computes(self):
        for ranks in (2, 3, 4, 5):
            with self.subTest(ranks=ranks):
                self.assertEqual(failure_of(1000 * ranks, 13, ranks), "")


def soak(first, count, each=25):
    wrong = 0
    for begin in range(first, first + count, each):
        ranks = 2 + (begin // each) % 4
        failure = failure_of(begin, min(each, first + count - begin), ranks)
        if failure:
            wrong += 1
            print(failure, flush=True)
    print(f"{count} random programs, {wrong} runs of up to {each} with failures")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    if len(sys.argv) == 4 and sys.argv[1] == "--soak":
        soak(int(sys.argv[2]), int(sys.argv[3]))
    harness.main()

# SPDX-License-Identifier: Apache-2.0
"""An idle library sends nothing and takes no time."""

import re
import unittest

import harness

PROGRAM = str(harness.BUILD / "tests" / "idle")
SECONDS = 10
# The goal is 1 %; the bound leaves room for a busy machine and for instrumented code.
CPU_PERCENT_MAX = 20 if harness.SANITIZE else 5


@unittest.skipUnless(harness.MPIRUN, "built without MPI")
class Idle(unittest.TestCase):
    def test_no_message_in_ten_seconds(self):
        run = harness.run([PROGRAM, str(SECONDS)], timeout_s=90, ranks=2)
        self.assertEqual(run.exit_code, 0, run.text)
        self.assertEqual(len(run.out), 2, run.text)
        for line in run.out:
            print(line)
            messages, percent = re.match(r"rank \d: (\d+) messages, ([\d.]+) % CPU", line).groups()
            self.assertEqual(int(messages), 0)
            self.assertLess(float(percent), CPU_PERCENT_MAX)


if __name__ == "__main__":
    harness.main()

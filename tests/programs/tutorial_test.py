# SPDX-License-Identifier: Apache-2.0
"""The programs of docs/tutorial.md print what the page says, on any number of ranks."""

import re
import unittest

import harness

EXAMPLES = harness.BUILD / "examples"


def printed(page, program):
    """What the page shows below `$ ... program`."""
    return re.search(rf"^\$ [^\n]*{program}\n(epoch.*?)^```", page,
                     re.MULTILINE | re.DOTALL).group(1)


@unittest.skipUnless((EXAMPLES / "linear_distributed").exists(), "the examples were not built")
class Tutorial(unittest.TestCase):
    def setUp(self):
        self.page = (harness.SOURCE / "docs" / "tutorial.md").read_text(encoding="utf-8")

    def test_one_process(self):
        run = harness.run([str(EXAMPLES / "linear_single")], timeout_s=120)
        self.assertEqual(run.exit_code, 0, run.text)
        self.assertIn(printed(self.page, "linear_single"), run.text)

    @unittest.skipUnless(harness.MPIRUN, "built without MPI")
    def test_one_two_and_four_ranks_see_the_same_batches(self):
        expected = printed(self.page, "linear_distributed")
        for ranks in (1, 2, 4):
            run = harness.run([str(EXAMPLES / "linear_distributed")], ranks=ranks, timeout_s=120)
            self.assertEqual(run.exit_code, 0, run.text)
            self.assertIn(expected, run.text)


if __name__ == "__main__":
    harness.main()

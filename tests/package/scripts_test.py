# SPDX-License-Identifier: Apache-2.0
"""What the scripts that a user runs say of wrong input: one line, with what is wrong, and no trace."""

import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

import harness


class Scripts(unittest.TestCase):
    def setUp(self):
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.folder = Path(temporary.name)

    def fails(self, script, *arguments, with_line):
        line = [sys.executable, harness.SOURCE / "scripts" / script, *arguments]
        run = subprocess.run(line, capture_output=True, text=True, timeout=120, check=False)
        self.assertNotEqual(run.returncode, 0)
        self.assertEqual(run.stdout, "")
        self.assertEqual(len(run.stderr.splitlines()), 1, run.stderr)
        self.assertRegex(run.stderr, with_line)

    def test_plot_bench(self):
        self.fails("plot_bench.py", self.folder / "none", with_line=r"none: no results of")
        (self.folder / "allreduce.2.json").write_text("{", encoding="utf-8")
        # Without matplotlib it says that instead.
        self.fails("plot_bench.py", self.folder, with_line=r"allreduce\.2\.json: |needs matplotlib")
        (self.folder / "allreduce.2.json").write_text('[{"bytes": 4}]', encoding="utf-8")
        self.fails("plot_bench.py", self.folder, with_line=r"not what this version|needs matplotlib")

    def test_tune(self):
        table, nothing = self.folder / "table", self.folder / "nothing"
        self.fails("tune.py", "--output", table, "--bench", nothing, "env",
                   with_line="nothing was not built")
        self.fails("tune.py", "--output", nothing / "table", "--bench", sys.executable, "env",
                   with_line="nothing/table: No such file")
        false = self.folder / "false"
        false.write_text("#!/bin/sh\necho wrong >&2\nexit 3\n", encoding="utf-8")
        false.chmod(0o755)
        self.fails("tune.py", "--output", table, "--bench", sys.executable, false,
                   with_line="ended with 3: wrong")
        self.fails("tune.py", "--output", table, "--bench", sys.executable, nothing,
                   with_line="nothing")


if __name__ == "__main__":
    harness.main()

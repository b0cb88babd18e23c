# SPDX-License-Identifier: Apache-2.0
"""allreduce_bench: the documented rows and keys, and right results. Times are not judged."""

import json
import tempfile
import unittest
from pathlib import Path

import harness

BENCH = harness.BUILD / "benchmarks" / "allreduce_bench"
KEYS = set("op backend placement ranks dtype redop bytes count time_us_p50 time_us_p99 algbw_gbps "
           "busbw_gbps wrong baseline baseline_time_us_p50 vs_baseline vs_baseline_q25 "
           "vs_baseline_q75".split())
LIMIT = {"limit_us_p50", "of_limit"}


@unittest.skipUnless(harness.MPIRUN and BENCH.exists(), "allreduce_bench was not built")
class Bench(unittest.TestCase):
    def rows(self, *flags):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "rows.json"
            run = harness.run([str(BENCH), "-b", "8", "-e", "1M", "-f", "8", "-w", "1", "-n", "3",
                               *flags, "--json", str(path)], ranks=2, timeout_s=200)
            self.assertEqual(run.exit_code, 0, run.text)
            return json.loads(path.read_text(encoding="utf-8"))

    def test_every_size_has_a_row_per_placement_with_the_documented_keys(self):
        rows = self.rows("-d", "float32", "-o", "sum", "-c", "1", "--backend", "p2p",
                         "--baseline", "mpi")
        self.assertEqual([row["bytes"] for row in rows],
                         [8 << (3 * i) for i in range(6) for _ in range(3)])
        self.assertEqual({row["placement"] for row in rows}, {"arena", "inplace", "outofplace"})
        for row in rows:
            in_arena = row["placement"] == "arena"
            self.assertEqual(set(row), KEYS | LIMIT if in_arena else KEYS)
            self.assertEqual((row["wrong"], row["count"] * 4), (0, row["bytes"]))
            self.assertGreater(row["vs_baseline"], 0)

    def test_other_types_and_reductions_have_no_wrong_elements(self):
        for flags in (("-d", "half", "-o", "avg"), ("-d", "int8", "-o", "max"),
                      ("-d", "bfloat16", "-o", "prod"), ("-d", "double", "-o", "min")):
            for row in self.rows(*flags):
                self.assertEqual(row["wrong"], 0, row)

    def test_a_wrong_option_is_one_line_and_exit_code_2(self):
        for flags in (["--backend", "nonsense"], ["-d", "nonsense"], ["-b", "many"]):
            run = harness.run([str(BENCH), *flags], ranks=2, timeout_s=60)
            self.assertNotEqual(run.exit_code, 0, run.text)
            self.assertEqual(len(run.err), 1, run.text)
            self.assertIn(flags[1] if flags[0] != "-b" else "-b", run.err[0])


if __name__ == "__main__":
    harness.main()

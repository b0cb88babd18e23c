# SPDX-License-Identifier: Apache-2.0
"""What gpu_check.sh does with its results, and the GPU benchmarks, on the simulated GPU: the rows and
the report; times mean nothing."""

import json
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

import harness

SIMULATED = harness.BUILD / "tests"


@unittest.skipUnless((SIMULATED / "pack_bench_sim").exists(), "built without CUDA")
class Report(unittest.TestCase):
    def rows(self, folder, name, program, *flags):
        path = Path(folder) / name
        run = harness.run([str(SIMULATED / program), *flags, "--json", str(path)], ranks=1,
                          timeout_s=200)
        self.assertEqual(run.exit_code, 0, run.text)
        return json.loads(path.read_text(encoding="utf-8"))

    def test_benchmarks_and_report(self):
        allreduce = ["--backend", "nccl", "--placement", "device", "--baseline", "nccl"]
        with tempfile.TemporaryDirectory() as folder:
            rows = self.rows(folder, "allreduce.json", "allreduce_bench_sim", "-b", "4", "-e", "4K",
                             "-f", "8", "-n", "3", *allreduce)
            self.assertEqual([row["wrong"] for row in rows], [0] * len(rows))
            self.assertEqual({row["baseline"] for row in rows}, {"nccl"})
            self.rows(folder, "enqueue.json", "allreduce_bench_sim", "-b", "4", "-e", "4", "-n",
                      "3", "--enqueue", *allreduce)
            rows = self.rows(folder, "pack.json", "pack_bench_sim", "--model", "resnet50", "-n",
                             "1", "-m", "1")
            self.assertEqual({row["way"] for row in rows},
                             {"copy", "pack", "unpack", "pack x 0.5", "pack x 0.5 bf16",
                              "per tensor"})
            Path(folder, "train.json").write_text("")  # as a program that failed leaves it
            Path(folder, "checks.txt").write_text("tests passed\nmemcheck failed (1)\n")
            subprocess.run([sys.executable, str(harness.SOURCE / "scripts" / "gpu_report.py"),
                            folder], check=True, timeout=60, capture_output=True)
            found = json.loads(Path(folder, "gpu.json").read_text(encoding="utf-8"))
            text = Path(folder, "gpu.md").read_text(encoding="utf-8")
        self.assertEqual(found["checks"], {"tests": "passed", "memcheck": "failed (1)"})
        self.assertEqual(len(found["targets"]), 5)
        self.assertIn("| memcheck | failed (1) |", text)
        self.assertIn("| resnet50 | per tensor |", text)


if __name__ == "__main__":
    harness.main()

# SPDX-License-Identifier: Apache-2.0
"""protocol_sim against closed forms and against messages counted in real runs, and what a real program
sends in its steady state."""

import json
import os
import re
import tempfile
import unittest
from pathlib import Path

import harness
import train_mnist as mnist

SIMULATOR = harness.BUILD / "tests/protocol_sim"
COUNTS = harness.BUILD / "tests/control_counts"


def simulate(**options):
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder) / "result.json"
        words = [word for name, value in options.items()
                 for word in (f"--{name.replace('_', '-')}", str(value))]
        harness.checked([SIMULATOR, *words, "--json", result], timeout_s=300)
        return json.loads(result.read_text(encoding="utf-8"))


def depth_of(ranks, radix):
    depth, width, total = 0, 1, 1
    while total < ranks:
        width *= radix
        total += width
        depth += 1
    return depth


@unittest.skipUnless(SIMULATOR.exists(), "protocol_sim was not built")
class Simulated(unittest.TestCase):
    def test_keys(self):
        self.assertEqual(list(simulate(ranks=3)),
                         ["ranks", "tensors", "radix", "mode", "messages_total", "messages_in_max",
                          "bytes_total", "depth", "time_us", "bytes_per_idle_rank", "wall_s"])

    def test_messages_and_time_are_those_of_the_closed_forms(self):
        alpha, overhead, steps = 2.0, 0.3, 2
        for ranks, radix in ((2, 2), (15, 2), (1023, 2), (585, 8), (1024, 4), (1057, 32), (3000, 8)):
            with self.subTest(ranks=ranks, radix=radix):
                result = simulate(ranks=ranks, radix=radix, tensors=20, steps=steps)
                depth = depth_of(ranks, radix)
                self.assertEqual(result["depth"], depth)
                self.assertEqual(result["messages_total"], steps * 2 * (ranks - 1))
                self.assertLessEqual(result["messages_in_max"], steps * (radix + 1))
                bound = 2 * depth * (alpha + (radix - 1) * overhead)
                full = ranks == sum(radix ** level for level in range(depth + 1))
                if full:  # every path is the longest
                    self.assertAlmostEqual(result["time_us"], bound, places=6)
                self.assertLessEqual(result["time_us"], bound + 1e-6)
                self.assertLessEqual(result["bytes_per_idle_rank"], 2048)

    @unittest.skipIf(harness.SANITIZE, "millions of operations are left to the release preset")
    def test_a_warm_negotiation_of_27360_ranks_takes_at_most_100_us(self):
        result = simulate(ranks=27360, tensors=161, radix=8, steps=1)
        self.assertLessEqual(result["time_us"], 100)
        self.assertLessEqual(result["messages_in_max"], 9)
        self.assertEqual(result["messages_total"], 2 * 27359)
        self.assertLessEqual(result["bytes_per_idle_rank"], 2048)

    def test_a_plan_needs_no_message(self):
        result = simulate(ranks=300, mode="plan", steps=5)
        self.assertEqual(result["messages_total"], 0)
        self.assertEqual(result["time_us"], 0)

    def test_the_naive_way_for_comparison(self):
        result = simulate(ranks=1000, mode="naive", tensors=161, steps=1)
        self.assertEqual(result["messages_total"], 2 * 999 * 161)
        self.assertEqual(result["messages_in_max"], 999 * 161)


@mnist.needs_mpi
@unittest.skipUnless(SIMULATOR.exists(), "protocol_sim was not built")
class Counted(unittest.TestCase):
    def test_real_runs_send_exactly_as_many_messages(self):
        os.environ["RINGLEADER_BLOCKED_GRACE_S"] = "0"  # ranks that share a core may wait for long
        for ranks in (2, 4, 8, 16):
            with self.subTest(ranks=ranks):
                run = harness.run([str(COUNTS), "161", "3"], timeout_s=120, ranks=ranks)
                self.assertEqual(run.exit_code, 0, run.text)
                counts = [int(n) for n in re.findall(r"rank \d+: (\d+) messages", "\n".join(run.out))]
                self.assertEqual(len(counts), ranks, run.text)
                simulated = simulate(ranks=ranks, tensors=161, radix=8, steps=3)
                self.assertEqual(sum(counts), simulated["messages_total"], run.text)


if __name__ == "__main__":
    harness.main()

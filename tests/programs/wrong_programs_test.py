# SPDX-License-Identifier: Apache-2.0
"""Wrong programs, as wrong_program.cc writes them: every rank gets the same error in bounded time, it
names tensor, ranks, values and what to do, the next correct operation works, and a program that does
not catch it ends with an exit code that is not 0.

With --table it prints the README's table of measured times instead."""

import os
import re
import signal
import subprocess
import sys
import unittest
from pathlib import Path

import harness

RANKS = 3
HELD = re.compile(r"rank (\d): (\w+) after ([\d.]+) s: (.*)")

# What a disagreement about a tensor must name: the field, and the values of ranks 0 and 1.
DISAGREEMENTS = {
    "shape": ("allreduce 't'", "shape", "rank 0 has [4, 1]", "rank 1 has [2, 2]"),
    "count": ("allreduce 't'", "shape", "rank 0 has [4]", "rank 1 has [8]"),
    "equal_bytes": ("allreduce 't'", "element type", "rank 0 has f32", "rank 1 has f64"),
    "dtype": ("allreduce 't'", "element type", "rank 0 has f32", "rank 1 has f64"),
    "operation": ("'t'", "operation", "rank 0 has allreduce", "rank 1 has broadcast"),
    "reduce_op": ("allreduce 't'", "reduction", "rank 0 has sum", "rank 1 has max"),
    "root": ("broadcast 't'", "root", "rank 0 has 0", "rank 1 has 1"),
    "scale": ("allreduce 't'", "prescale", "rank 0 has 0.25", "rank 1 has 0.5"),
    "group": ("allreduce 'group'", "number of tensors", "rank 0 has 2", "rank 1 has 1"),
    "memory": ("allreduce 't'", "memory", "rank 0 has host", "rank 1 has cuda"),
    "plan_name": ("plan 'optimizer'", "parameter 1", "'bias' f32 [2]", "'bais' f32 [2]"),
    "plan_order": ("plan 'optimizer'", "parameter 0", "'w' f32 [4]", "'bias' f32 [2]"),
    "plan_shape": ("plan 'optimizer'", "parameter 0", "'w' f32 [4]", "'w' f32 [5]"),
    "plan_count": ("plan 'optimizer'", "number of parameters", "rank 0 has 2", "rank 1 has 1"),
}


class Outcome:
    """What a wrong program printed and how it ended."""

    def __init__(self, run):
        self.run = run
        self.errors = {}  # by rank: (code, seconds, whole message)
        self.went_on = set()
        for line in run.out:
            held = HELD.match(line)
            if held:
                self.errors[int(held[1])] = (held[2], float(held[3]), held[4])
            elif line.endswith(": went on"):
                self.went_on.add(int(line.split()[1].rstrip(":")))

    @property
    def slowest(self):
        return max((seconds for _, seconds, _ in self.errors.values()), default=None)


def start(words, **variables):
    line = harness.command([(RANKS, [str(harness.BUILD / "tests/wrong_program"), *words])])
    environment = dict(harness.environment(), **variables)
    return subprocess.Popen(line, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, text=True, env=environment)


def run(*words, timeout_s=150, **variables):
    return Outcome(harness.finish(start(words, **variables), timeout_s))


class WrongPrograms(unittest.TestCase):
    def assert_same_everywhere(self, outcome, code, ranks=range(RANKS)):
        self.assertEqual(set(outcome.errors), set(ranks), outcome.run.text)
        first = outcome.errors[next(iter(ranks))]
        for rank in ranks:
            self.assertEqual(outcome.errors[rank][0], code, outcome.run.text)
            self.assertEqual(outcome.errors[rank][2], first[2], outcome.run.text)
        return first[2]

    def assert_went_on(self, outcome):
        self.assertEqual(outcome.run.exit_code, 0, outcome.run.text)
        self.assertEqual(outcome.went_on, set(range(RANKS)), outcome.run.text)

    def test_a_disagreement_names_tensor_ranks_and_values(self):
        for case, parts in DISAGREEMENTS.items():
            with self.subTest(case):
                outcome = run(case)
                text = self.assert_same_everywhere(outcome, "mismatch")
                # Rank 1 is the odd one; it is told apart from whichever other came first.
                text = text.replace("rank 2 has", "rank 0 has")
                for part in (*parts, "make them equal on all ranks", "wrong_program.cc:"):
                    self.assertIn(part, text)
                self.assert_went_on(outcome)

    def test_an_error_that_nobody_catches_ends_the_job(self):
        for case in ("shape", "name"):
            with self.subTest(case):
                self.assertNotEqual(run(case, "uncaught").run.exit_code, 0)

    def test_a_misspelt_name_is_told_apart(self):
        outcome = run("name")
        text = self.assert_same_everywhere(outcome, "stalled")
        self.assertIn("rank 1 submitted 'layer1.weigth', ranks 0, 2 'layer1.weight'", text)
        self.assertIn("ranks 0, 2: wait for allreduce 'layer1.weight'", text)
        self.assertIn("submit the same names on all ranks", text)
        self.assert_went_on(outcome)

    def test_the_grace_can_be_chosen(self):
        outcome = run("name", RINGLEADER_BLOCKED_GRACE_S="3")
        self.assertGreater(outcome.slowest, 2.9, outcome.run.text)

    def test_a_skipped_operation_is_reported(self):
        outcome = run("skip")
        text = self.assert_same_everywhere(outcome, "stalled")
        self.assertIn("rank 1: waits for allreduce 'next'", text)
        self.assertIn("has not submitted allreduce 'skipped'", text)
        self.assert_went_on(outcome)

    def test_a_rank_two_steps_behind(self):
        outcome = run("behind")
        text = self.assert_same_everywhere(outcome, "stalled")
        self.assertIn("has not submitted allreduce 'step0'", text)
        self.assertNotIn("misspelt", text)

    def test_a_step_skipped_while_a_plan_is_replayed(self):
        outcome = run("skip_in_plan")
        text = self.assert_same_everywhere(outcome, "stalled")
        self.assertIn("rank 1 (at step 4 of 'optimizer'", text)
        self.assertIn("gradient of 'optimizer', 'w'", text)
        self.assert_went_on(outcome)

    def test_splits_that_are_wrong_by_themselves(self):
        outcome = run("splits")
        self.assertEqual(outcome.errors[1][0], "invalid_argument", outcome.run.text)
        self.assertIn("the splits do not add up", outcome.errors[1][2])
        for rank in (0, 2):
            self.assertEqual(outcome.errors[rank][0], "stalled", outcome.run.text)
            self.assertIn("rank 1: waits for allreduce 'afterwards'", outcome.errors[rank][2])
        self.assert_went_on(outcome)

    def test_device_memory_that_no_backend_can_reach(self):
        for case in ("all_device", "gather_device"):
            with self.subTest(case):
                outcome = run(case)
                self.assertIn("no backend of this build",
                              self.assert_same_everywhere(outcome, "unsupported"))
                self.assert_went_on(outcome)

    def test_a_rank_in_an_endless_loop_is_warned_about_once_then_given_up(self):
        outcome = run("endless", RINGLEADER_STALL_WARNING_S="1", RINGLEADER_STALL_ABORT_S="3")
        text = self.assert_same_everywhere(outcome, "rank_lost", ranks=(0, 2))
        self.assertIn("rank 1: has nothing pending; has not submitted plan 'optimizer'", text)
        warnings = [line for line in outcome.run.err if "RINGLEADER_STALL_WARNING_S" in line]
        self.assertEqual(len(warnings), 1, outcome.run.text)
        self.assertGreater(outcome.slowest, 2.9, outcome.run.text)
        self.assertNotEqual(outcome.run.exit_code, 0)

    def test_a_stopped_rank_is_named(self):
        for case, silent in (("stop", 1), ("stop_root", 0)):
            with self.subTest(case):
                outcome = run(case, RINGLEADER_STALL_WARNING_S="1", RINGLEADER_STALL_ABORT_S="2")
                others = [rank for rank in range(RANKS) if rank != silent]
                # mpirun wakes the stopped rank when it ends the job.
                self.assertLessEqual(set(others), set(outcome.errors), outcome.run.text)
                for rank in others:
                    self.assertEqual(outcome.errors[rank][0], "rank_lost", outcome.run.text)
                    self.assertIn(f"rank {silent}", outcome.errors[rank][2])
                    self.assertIn("stopped", outcome.errors[rank][2])
                self.assertNotEqual(outcome.run.exit_code, 0)

    def test_a_rank_that_dies_ends_the_job(self):
        for case in ("kill", "throw"):
            with self.subTest(case):
                outcome = run(case)
                self.assertNotEqual(outcome.run.exit_code, 0)

    def test_a_rank_that_leaves_early_ends_the_others_operations(self):
        for case in ("return", "shutdown"):
            with self.subTest(case):
                outcome = run(case)
                text = self.assert_same_everywhere(outcome, "shutdown", ranks=(0, 2))
                self.assertIn("rank 1 shut down", text)
                self.assertNotEqual(outcome.run.exit_code, 0)

    def test_submitting_and_waiting_in_a_completion_callback(self):
        self.assert_went_on(run("callback"))

    def test_one_name_for_two_kinds_of_operation(self):
        outcome = run("two_kinds")
        self.assertIn("'t'", self.assert_same_everywhere(outcome, "duplicate_name"))
        self.assert_went_on(outcome)

    def test_min_and_product_with_a_joined_rank_are_right(self):
        for case in ("min_joined", "product_joined"):
            with self.subTest(case):
                self.assert_went_on(run(case))


class Flight(unittest.TestCase):
    """The flight recorder's files and the report that is made of them."""

    def report(self, folder):
        script = harness.SOURCE / "scripts/flight_report.py"
        return harness.checked([sys.executable, script, folder], timeout_s=30)

    def test_an_abort_leaves_files_that_say_who_diverged(self):
        folder = harness.BUILD / f"tests/flight.{os.getpid()}"
        outcome = run("endless", RINGLEADER_STALL_WARNING_S="1", RINGLEADER_STALL_ABORT_S="2",
                      RINGLEADER_FLIGHT_DIR=str(folder))
        self.assertNotEqual(outcome.run.exit_code, 0)
        report = self.report(folder)
        self.assertIn("rank 1 has not submitted", report)
        self.assertIn("optimizer", report)

    def test_a_signal_writes_the_file_and_the_program_goes_on(self):
        folder = harness.BUILD / f"tests/flight_usr2.{os.getpid()}"
        process = start(["endless"], RINGLEADER_FLIGHT_DIR=str(folder))
        self.addCleanup(process.kill)
        harness.wait_until(lambda: len(self.listeners()) == RANKS, "all ranks heed SIGUSR2")
        self.addCleanup(lambda: [os.kill(rank, signal.SIGKILL) for rank in self.listeners()])

        def says_who_is_late():
            for rank in self.listeners():
                os.kill(rank, signal.SIGUSR2)
            if len(list(folder.glob("flight.*.bin"))) < RANKS:
                return False
            report = self.report(folder)
            return "SIGUSR2" in report and "rank 1 has not submitted" in report

        harness.wait_until(says_who_is_late, "the files say that rank 1 is late")
        self.assertIsNone(process.poll())
        self.assertEqual(len(self.listeners()), RANKS)

    @staticmethod
    def listeners():
        """The ranks that do something about SIGUSR2."""
        found = []
        for pid in harness.processes_of(harness.BUILD / "tests/wrong_program"):
            try:
                status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
            except OSError:
                continue
            caught = int(re.search(r"SigCgt:\s*(\w+)", status)[1], 16)
            if caught & 1 << (signal.SIGUSR2 - 1):
                found.append(pid)
        return found


def table():
    for case in [*DISAGREEMENTS, "name", "skip", "skip_in_plan", "behind", "splits", "return"]:
        outcome = run(case)
        codes = sorted({code for code, _, _ in outcome.errors.values()})
        print(f"| {case} | {', '.join(codes)} | {outcome.slowest * 1e3:.1f} ms |")


if __name__ == "__main__":
    if sys.argv[1:] == ["--table"]:
        table()
    else:
        harness.main()

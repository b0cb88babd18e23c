# SPDX-License-Identifier: Apache-2.0
"""Starting, stopping, and the process around the library: what process.cc does must end well."""

import os
import stat
import subprocess
import tempfile
import unittest
from pathlib import Path

import harness

PROGRAM = str(harness.BUILD / "tests" / "process")
WATCHDOG_S = 200


def run(words, ranks, cwd=None, **variables):
    environment = dict(harness.environment(), **variables)
    words = [PROGRAM, *words.split()]
    line = words if ranks is None else harness.command([(ranks, words)])
    process = subprocess.Popen(line, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True, env=environment, cwd=cwd)
    return harness.finish(process, WATCHDOG_S)


@unittest.skipUnless(harness.MPIRUN, "built without MPI")
class Process(unittest.TestCase):
    def ends_well(self, word, ranks=2, **variables):
        outcome = run(word, ranks, **variables)
        self.assertEqual(outcome.exit_code, 0, outcome.text)
        return outcome

    def test_starting_and_stopping(self):
        for word in ("restart_and_exit", "exit_in_callback", "exit_in_thread", "finalize_first",
                     "sink"):
            with self.subTest(word):
                self.ends_well(word)
        self.ends_well("communicators", ranks=4)
        self.ends_well("one_has_ended", ranks=3)

    def test_children_made_by_fork_are_no_ranks(self):
        self.ends_well("fork_children")

    def test_what_fails_on_one_rank_fails_init_on_all(self):
        for what, named in (("value", "RINGLEADER_TREE_RADIX"), ("folder", "RINGLEADER_FLIGHT_DIR")):
            with self.subTest(what):
                outcome = self.ends_well(f"init_fails {what}")
                told = [line for line in outcome.out if named in line]
                self.assertEqual(len(told), 2, outcome.text)

    def test_mpi_with_less_than_all_threads(self):
        self.ends_well("funneled_poll")
        self.ends_well("funneled_worker")
        self.ends_well("own_messages")

    def test_the_process_around_it(self):
        for word in ("closed_descriptors", "signals_interrupt"):
            with self.subTest(word):
                self.ends_well(word)
        if not harness.SANITIZE:  # whose shadow memory needs addresses
            self.ends_well("limits")
            self.ends_well("no_memory")

    def test_the_flight_recorders_file_is_private_and_where_the_program_began(self):
        with tempfile.TemporaryDirectory() as folder:
            os.mkdir(Path(folder) / "flight")
            target = Path(folder) / "target"
            target.write_text("precious")
            (Path(folder) / "flight" / "flight.0.bin").symlink_to(target)
            loose = Path(folder) / "flight" / "flight.1.bin"
            loose.write_text("")
            loose.chmod(0o666)
            outcome = run("change_folder", 2, cwd=folder)
            self.assertEqual(outcome.exit_code, 0, outcome.text)
            self.assertEqual(target.read_text(), "precious")
            self.assertEqual(stat.S_IMODE(loose.stat().st_mode), 0o600)
            self.assertGreater(loose.stat().st_size, 1000)

    def test_sessions_leave_nothing_behind(self):
        self.ends_well("many_sessions 300")

    def test_errors_name_the_operation_and_its_place(self):
        self.ends_well("no_session")

    def test_a_pools_thread_that_sleeps_hides_no_deadlock(self):
        self.ends_well("pool_thread")

    def test_steps_as_long_as_the_grace_are_no_deadlock(self):
        for background in ("0", "1"):
            self.ends_well("uneven_steps 300", RINGLEADER_BLOCKED_GRACE_S="0.05",
                           RINGLEADER_BACKGROUND_THREAD=background)

    def test_a_rank_that_stops_before_an_operation_is_named(self):
        outcome = run("stopped_while_opening", 3, RINGLEADER_STALL_WARNING_S="1",
                      RINGLEADER_STALL_ABORT_S="3")
        self.assertNotEqual(outcome.exit_code, 0, outcome.text)
        self.assertIn("rank 1", "\n".join(outcome.out))
        self.assertIn("no answer", "\n".join(outcome.out))


class Alone(unittest.TestCase):
    """A world of one, which another launcher's variables contradict."""

    def alone(self, **variables):
        return run("one_operation", None, **variables)

    def test_one_of_several_is_told_so_and_not_trained(self):
        for variable in ("PMI_SIZE", "SLURM_STEP_NUM_TASKS", "MPI_LOCALNRANKS", "PALS_SIZE"):
            with self.subTest(variable):
                outcome = self.alone(**{variable: "2"})
                self.assertEqual(outcome.exit_code, 3, outcome.text)
                for text in (outcome.err, outcome.out):
                    self.assertTrue(any(f"{variable}=2" in line for line in text), outcome.text)
        self.assertEqual(self.alone(PMIX_RANK="1").exit_code, 3)

    def test_it_can_be_meant(self):
        outcome = self.alone(PMI_SIZE="2", RINGLEADER_ALLOW_SINGLE="1")
        self.assertEqual(outcome.exit_code, 0, outcome.text)
        self.assertEqual(outcome.err, [])

    def test_an_allocation_in_which_a_program_runs_alone_is_one_warning(self):
        outcome = self.alone(SLURM_NTASKS="2")
        self.assertEqual(outcome.exit_code, 0, outcome.text)
        self.assertEqual(len(outcome.err), 1, outcome.text)
        self.assertIn("SLURM_NTASKS=2", outcome.err[0])

    def test_unknown_variables_are_named_with_the_closest(self):
        outcome = self.alone(RINGLEADER_FUSION_BYTE="1")
        self.assertEqual(outcome.exit_code, 0, outcome.text)
        self.assertEqual(len(outcome.err), 1, outcome.text)
        self.assertIn("did you mean RINGLEADER_FUSION_BYTES?", outcome.err[0])

    def test_unusable_values_name_their_variable(self):
        for variable in ("RINGLEADER_BACKEND", "RINGLEADER_ALGORITHMS", "RINGLEADER_TREE_RADIX"):
            with self.subTest(variable):
                outcome = self.alone(**{variable: "nonsense"})
                self.assertNotEqual(outcome.exit_code, 0, outcome.text)
                self.assertIn(variable, outcome.text)


if __name__ == "__main__":
    harness.main()

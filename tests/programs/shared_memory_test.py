# SPDX-License-Identifier: Apache-2.0
"""Shared memory: what happens when there is little of it, and what is left when all are killed."""

import os
import signal
import unittest
from pathlib import Path

import harness

BENCH = harness.BUILD / "benchmarks" / "allreduce_bench"
FLAGS = [str(BENCH), "--placement", "arena", "-c", "1"]
RANKS = 2
MIB = 1 << 20


def shared_bytes():
    """Of the whole machine, memfds among them."""
    for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
        if line.startswith("Shmem:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("/proc/meminfo does not tell")


@unittest.skipUnless(harness.MPIRUN and BENCH.exists(), "allreduce_bench was not built")
class SharedMemory(unittest.TestCase):
    def test_an_arena_that_is_too_small_for_a_channel_is_a_clear_error(self):
        os.environ["RINGLEADER_ARENA_BYTES"] = "1M"
        self.addCleanup(os.environ.pop, "RINGLEADER_ARENA_BYTES")
        run = harness.run([*FLAGS, "-b", "8", "-e", "8"], ranks=RANKS, timeout_s=60)
        self.assertNotEqual(run.exit_code, 0, run.text)
        self.assertIn("RINGLEADER_ARENA_BYTES", run.text)
        self.assertIn("RINGLEADER_BACKEND=p2p", run.text)

    def test_tensors_beyond_the_arena_are_in_ordinary_memory(self):
        os.environ["RINGLEADER_ARENA_BYTES"] = "16M"
        self.addCleanup(os.environ.pop, "RINGLEADER_ARENA_BYTES")
        run = harness.run([*FLAGS, "-b", "32M", "-e", "32M", "-n", "2", "-w", "0"], ranks=RANKS,
                          timeout_s=100)
        self.assertEqual(run.exit_code, 0, run.text)
        self.assertIn("wrong elements: 0", run.text)
        self.assertIn("ordinary memory", run.text)

    @unittest.skipUnless(os.geteuid() == 0, "only root mounts")
    def test_a_small_dev_shm_does_not_matter(self):
        inner = harness.command([(RANKS, [*FLAGS, "-b", "32M", "-e", "32M", "-n", "2", "-w", "0"])])
        script = 'mount -t tmpfs -o size=64k none /dev/shm && exec "$@"'
        run = harness.run(["unshare", "--mount", "sh", "-c", script, "sh", *inner], timeout_s=100)
        if "mount:" in run.text or "unshare:" in run.text:
            self.skipTest("mounts are not allowed here")
        self.assertEqual(run.exit_code, 0, run.text)
        self.assertIn("wrong elements: 0", run.text)

    def test_nothing_is_left_when_all_ranks_are_killed(self):
        before = shared_bytes()
        process = harness.start(harness.command(
            [(RANKS, [*FLAGS, "-b", "128M", "-e", "128M", "-n", "1000000"])]))
        self.addCleanup(process.kill)
        harness.wait_until(lambda: shared_bytes() >= before + 256 * MIB, "it uses shared memory")
        for pid in harness.processes_of(BENCH):
            os.kill(pid, signal.SIGKILL)
        process.communicate(timeout=300)
        harness.wait_until(lambda: shared_bytes() <= before + 64 * MIB, "no memory is left behind")


if __name__ == "__main__":
    harness.main()

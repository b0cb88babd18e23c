# SPDX-License-Identifier: Apache-2.0
"""The loss of one rank ends the whole job, and nothing stays behind."""

import os
import signal
import tempfile
import time
import unittest
from pathlib import Path

import harness
import train_mnist as mnist

SECONDS_MAX = 150  # a watchdog: it takes less than one
SECONDS_TO_START_MAX = 120


def ranks_of(tag):
    """Rank to process id of the programs that have the tag on their command line."""
    found = {}
    for folder in Path("/proc").iterdir():
        try:
            arguments = (folder / "cmdline").read_bytes().split(b"\0")
            if tag.encode() in arguments and arguments[0] == os.fsencode(mnist.PROGRAM):
                variables = (folder / "environ").read_bytes().split(b"\0")
                rank = next(v for v in variables
                            if v.startswith((b"OMPI_COMM_WORLD_RANK=", b"PMI_RANK=")))
                found[int(rank.split(b"=")[1])] = int(folder.name)
        except (OSError, StopIteration):
            continue  # not a process, or one that has just ended
    return found


@mnist.needs_program
@mnist.needs_mpi
class Kill(unittest.TestCase):
    def ends_when_killed(self, victim):
        with tempfile.TemporaryDirectory() as folder:
            data = mnist.write_data(Path(folder) / "set", count=4096)
            tag = str(Path(folder) / "result.json")
            words = mnist.words("--data", data, "--json", tag, "--epochs", 100000)
            process = harness.start(harness.command([(2, words)]))
            self.addCleanup(process.kill)
            self.wait_for_first_epoch(process)
            ranks = ranks_of(tag)
            self.assertEqual(sorted(ranks), [0, 1])
            os.kill(ranks[victim], signal.SIGKILL)
            run = harness.finish(process, SECONDS_MAX)
            self.assertNotEqual(run.exit_code, 0, run.text)
            deadline = time.monotonic() + SECONDS_MAX - run.seconds
            while ranks_of(tag) and time.monotonic() < deadline:
                time.sleep(0.05)
            self.assertEqual(ranks_of(tag), {}, "processes were left behind")

    def wait_for_first_epoch(self, process):
        deadline = time.monotonic() + SECONDS_TO_START_MAX
        for line in process.stdout:
            if line.startswith("epoch 1/"):
                return
            self.assertLess(time.monotonic(), deadline)
        self.fail("it ended by itself: " + process.stderr.read())

    def test_killing_rank_1_ends_the_job(self):
        self.ends_when_killed(1)

    def test_killing_rank_0_ends_the_job(self):
        self.ends_when_killed(0)


if __name__ == "__main__":
    harness.main()

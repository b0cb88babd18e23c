# SPDX-License-Identifier: Apache-2.0
"""What the tests of the programs share: starting them with a bound on their time, and skipping.

  class Hello(unittest.TestCase):
      def test_it_works(self):
          run = harness.run(["hello_allreduce"], ranks=2, timeout_s=60)
          self.assertEqual(run.exit_code, 0, run.text)

  if __name__ == "__main__":
      harness.main()

CMake gives the build's facts as variables of the environment.
"""

import os
import re
import shlex
import subprocess
import sys
import time
import unittest
from pathlib import Path

SOURCE = Path(os.environ["RINGLEADER_TEST_SOURCE_DIR"])
BUILD = Path(os.environ["RINGLEADER_TEST_BUILD_DIR"])
COMPILER = os.environ["RINGLEADER_TEST_COMPILER"]
SANITIZE = os.environ.get("RINGLEADER_TEST_SANITIZE", "")
MPIRUN = os.environ.get("RINGLEADER_TEST_MPIRUN", "")  # empty: built without MPI
SKIPPED = 77  # ctest's SKIP_RETURN_CODE

# mpirun itself prints blocks between lines of dashes, and lines that begin with [host:pid].
DASHES = re.compile(r"-{60,}$")
OTHERS_LINE = re.compile(r"\[[\w./-]+[:\]]|hwloc|\d+ more process|"
                         r"Unable to find reachable pairing|$")


class Run:
    """A program that has ended."""

    def __init__(self, exit_code, out, err, seconds):
        self.exit_code = exit_code
        self.out = own_lines(out)
        self.err = own_lines(err)
        self.seconds = seconds
        self.text = f"exit code {exit_code} after {seconds:.1f} s\n{out}\n{err}"


def own_lines(text):
    """The lines that the program printed, without mpirun's."""
    own, in_block = [], False
    for line in text.splitlines():
        if DASHES.match(line):
            in_block = not in_block
        elif not in_block and not OTHERS_LINE.match(line):
            own.append(line)
    return own


def environment():
    return dict(os.environ, OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1",
                **({"OMP_NUM_THREADS": "1"} if "thread" in SANITIZE else {}))


def is_open_mpi(mpirun):
    version = subprocess.run([mpirun, "--version"], capture_output=True, text=True, check=False)
    return "Open MPI" in version.stdout + version.stderr or "OpenRTE" in version.stdout


def command(groups, mpirun=MPIRUN):
    """The command line that starts groups of (number of ranks, words) as one world."""
    total = sum(ranks for ranks, _ in groups)
    line = [mpirun]
    if total > os.cpu_count() and is_open_mpi(mpirun):
        line.append("--oversubscribe")
    line += ["-np", str(total)]
    if len(groups) == 1:
        return line + list(groups[0][1])
    # Not by several programs on mpirun's line: Debian 13's crashes then.
    script, last = "rank=${OMPI_COMM_WORLD_RANK:-$PMI_RANK}; ", 0
    for ranks, words in groups:
        last += ranks
        script += f"[ $rank -ge {last} ] || exec {shlex.join(map(str, words))}; "
    return line + ["sh", "-c", script]



def start(line, **options):
    return subprocess.Popen(line, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, text=True, env=environment(), **options)


def finish(process, timeout_s):
    """Waits for the end; ends it when the time is up, and then fails."""
    begin = time.monotonic()
    try:
        out, err = process.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        process.terminate()  # mpirun ends its ranks
        try:
            out, err = process.communicate(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            out, err = process.communicate()
        raise AssertionError(f"still running after {timeout_s} s\n{out}\n{err}") from None
    return Run(process.returncode, out, err, time.monotonic() - begin)


def run(words, timeout_s, ranks=None, **options):
    """Runs a program, without mpirun unless a number of ranks is given."""
    return finish(start(words if ranks is None else command([(ranks, words)]), **options),
                  timeout_s)


def wait_until(is_so, what):
    """A watchdog of minutes: no time decides a test."""
    deadline = time.monotonic() + 300
    while not is_so():
        if time.monotonic() > deadline:
            raise AssertionError(f"not after 300 s: {what}")
        time.sleep(0.05)


def processes_of(program):
    """The processes that run it."""
    found = []
    for folder in Path("/proc").iterdir():
        try:
            if (folder / "cmdline").read_bytes().split(b"\0")[0] == os.fsencode(program):
                found.append(int(folder.name))
        except (OSError, ValueError):
            continue
    return found


def checked(line, timeout_s):
    """Runs a step that has to succeed, for example a build, and returns its output."""
    result = finish(start([str(word) for word in line], cwd=BUILD), timeout_s)
    if result.exit_code != 0:
        raise AssertionError(f"{' '.join(map(str, line))}\n{result.text}")
    return "\n".join(result.out)


def mpi_options(compiler=os.environ.get("RINGLEADER_TEST_MPI_COMPILER", ""), mpirun=MPIRUN):
    """For CMake: the MPI of this build, or another one."""
    options = {"MPI_CXX_COMPILER": compiler, "MPIEXEC_EXECUTABLE": mpirun}
    return [f"-D{name}={value}" for name, value in options.items() if value]


def main():
    """unittest's, except that the exit code says when all tests were skipped."""
    program = unittest.main(exit=False, verbosity=2)
    result = program.result
    if not result.wasSuccessful() or result.testsRun == 0:
        sys.exit(1)
    sys.exit(SKIPPED if len(result.skipped) == result.testsRun else 0)

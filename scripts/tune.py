#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Measures which algorithm reduces fastest between the hosts of a job, and writes the rows for
RINGLEADER_ALGORITHMS_FILE:

  scripts/tune.py --output algorithms.txt -- mpirun -np 4 --hostfile hosts
  RINGLEADER_ALGORITHMS_FILE=algorithms.txt mpirun -np 4 --hostfile hosts ./train_mnist

What stands after -- starts one process per rank, as for any program; allreduce_bench is put behind
it. The rows are for this number of hosts and ranks. Sums in rank order (the default) choose between
hierarchical and flat, and between everybody and exchange; all of them are measured with
RINGLEADER_DETERMINISTIC=0.
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

BENCH = Path(__file__).resolve().parent.parent / "build/release/benchmarks/allreduce_bench"
FLAT = ["everybody", "exchange", "halving_doubling", "ring"]
NOISE = 1.03  # a change of algorithm has to gain more than this


def fail(what):
    sys.exit(f"tune.py: {what}")


def measure(launcher, bench, algorithm, options):
    """Microseconds by size, and the number of ranks."""
    with tempfile.TemporaryDirectory() as folder:
        rows = Path(folder) / "rows.json"
        line = [*launcher, "env", f"RINGLEADER_ALGORITHMS={algorithm}",
                "RINGLEADER_DETERMINISTIC=0", str(bench), "-b", options.min_bytes,
                "-e", options.max_bytes, "-f", "4", "-n", str(options.iterations), "-c", "0",
                "--placement", "inplace", "--json", str(rows)]
        try:
            result = subprocess.run(line, capture_output=True, text=True, check=False)
            if result.returncode != 0:
                said = (result.stderr + result.stdout).strip().splitlines()
                fail(f"'{' '.join(line)}' ended with {result.returncode}: {said[-1] if said else ''}")
            report = json.loads(rows.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            fail(f"'{' '.join(line)}': {error}")
    return {row["bytes"]: row["time_us_p50"] for row in report}, report[0]["ranks"]


def merge(times, sizes):
    """[(last size, algorithm)]: the fastest per size, staying with one while it loses little."""
    rows = []
    for size in sizes:
        best = min(times, key=lambda algorithm: times[algorithm][size])
        if rows and times[rows[-1][1]][size] <= NOISE * times[best][size]:
            best = rows[-1][1]
        if rows and rows[-1][1] == best:
            rows[-1] = (size, best)
        else:
            rows.append((size, best))
    return rows


def table(rows, hosts, ranks):
    """The last row applies to all larger sizes."""
    lines = ["# hosts  ranks  bytes  algorithm"]
    for i, (size, algorithm) in enumerate(rows):
        limit = "*" if i == len(rows) - 1 else str(size)
        lines.append(f"{hosts:<8} {ranks:<6} {limit:<10} {algorithm}")
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True, help="file for the rows")
    parser.add_argument("--hosts", default="*", help="for how many hosts (default: any)")
    parser.add_argument("--bench", type=Path, default=BENCH)
    parser.add_argument("--min-bytes", default="1K")
    parser.add_argument("--max-bytes", default="64M")
    parser.add_argument("--iterations", type=int, default=11)
    parser.add_argument("launcher", nargs="+", help="what starts the ranks")
    options = parser.parse_args()
    if not re.fullmatch(r"\*|\d+(-(\d+|\*))?", options.hosts):
        parser.error("--hosts: a number, a range as 2-8, or *")
    if not options.bench.exists():
        fail(f"{options.bench} was not built: cmake --preset release && cmake --build --preset release")
    try:
        options.output.touch()  # before minutes of measuring
    except OSError as error:
        fail(f"{options.output}: {error.strerror}")
    times, ranks = {}, 0
    for algorithm in [*FLAT, "hierarchical"]:
        times[algorithm], ranks = measure(options.launcher, options.bench, algorithm, options)
        print(f"{algorithm:>17}: " + "  ".join(f"{size}: {time:.1f} us"
                                               for size, time in times[algorithm].items()),
              flush=True)
    rows = merge(times, sorted(times[FLAT[0]]))
    # With one rank per host, hierarchical stands for the built-in choice of a flat algorithm.
    options.output.write_text(table(rows, options.hosts, ranks), encoding="utf-8")
    print(options.output.read_text(encoding="utf-8"), end="")


if __name__ == "__main__":
    main()

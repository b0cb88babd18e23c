#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Draws what scripts/bench.sh has measured:

  scripts/plot_bench.py FOLDER [OUTPUT]     # OUTPUT.svg and OUTPUT.png; default FOLDER/bench

Needs Debian's python3-matplotlib.
"""

import argparse
import json
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot  # noqa: E402

OURS, LIMIT, BASELINE, GLOO = "#1b6ca8", "#999999", "#d1495b", "#edae49"


def load(path):
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else []


def bandwidth(axes, folder, ranks):
    """Bus bandwidth against size."""
    rows = load(folder / f"allreduce.{ranks}.json")
    factor = 2 * (ranks - 1) / ranks / 1e3

    def line(placement, key, **style):
        chosen = [row for row in rows if row["placement"] == placement and key in row]
        axes.plot([row["bytes"] for row in chosen],
                  [row["bytes"] / row[key] * factor for row in chosen], marker="o", ms=3, **style)

    line("arena", "limit_us_p50", color=LIMIT, ls=":", label="limit: no synchronization")
    line("arena", "time_us_p50", color=OURS, label="Ringleader, shared memory")
    line("inplace", "time_us_p50", color=OURS, ls="--", label="Ringleader, ordinary memory")
    line("inplace", "baseline_time_us_p50", color=BASELINE, label="best of Open MPI's algorithms")
    gloo = load(folder / f"gloo.{ranks}.json")
    if gloo and "baseline_time_us_p50" in gloo[0]:
        axes.plot([row["bytes"] for row in gloo],
                  [row["bytes"] / row["baseline_time_us_p50"] * factor for row in gloo],
                  color=GLOO, marker="o", ms=3, label="Gloo")
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set_xlabel("bytes per rank")
    axes.set_ylabel("bus bandwidth, GB/s")
    axes.set_title(f"allreduce, {ranks} ranks on one node")
    axes.legend(fontsize=7)


def latency(axes, folder):
    rows = load(folder / "latency.2.json")
    for mode, color, label in (("plan", OURS, "Ringleader, in a plan"),
                               ("dynamic", GLOO, "Ringleader, negotiated"),
                               ("mpi", BASELINE, "raw MPI_Allreduce")):
        chosen = [row for row in rows if row["mode"] == mode]
        axes.plot([row["bytes"] for row in chosen], [row["time_us_p50"] for row in chosen],
                  marker="o", ms=3, color=color, label=label)
    axes.set_xscale("log", base=2)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("bytes")
    axes.set_ylabel("us")
    axes.set_title("small blocking allreduce, 2 ranks")
    axes.legend(fontsize=7)


def steps(axes, folder):
    """Time of a step against ours, by model."""
    results = [(path.name.split(".")[1], load(path)) for path in sorted(folder.glob("step.*.2.json"))]
    kinds = (("ringleader", OURS, "Ringleader"), ("mpi-each", GLOO, "Open MPI, tensor by tensor"),
             ("mpi-flat", BASELINE, "Open MPI, one contiguous tensor"), ("limit", LIMIT, "limit"))
    for k, (kind, color, label) in enumerate(kinds):
        for m, (_, result) in enumerate(results):
            times = [row["step_ms"] for row in result["times"] if row["name"].startswith(kind)]
            if times:
                axes.bar(m + (k - 1.5) / 5, times[0], 1 / 5, color=color,
                         label=label if m == 0 else None)
    axes.set_xticks(range(len(results)), [name for name, _ in results])
    axes.set_yscale("log")
    axes.set_ylabel("ms")
    axes.set_title("gradients of a whole model, 2 ranks")
    axes.legend(fontsize=7)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("output", type=Path, nargs="?")
    options = parser.parse_args()
    figure, axes = pyplot.subplots(2, 2, figsize=(11, 8))
    bandwidth(axes[0][0], options.folder, 2)
    bandwidth(axes[0][1], options.folder, 4)
    latency(axes[1][0], options.folder)
    steps(axes[1][1], options.folder)
    figure.tight_layout()
    output = options.output or options.folder / "bench"
    for ending in ("svg", "png"):
        figure.savefig(output.with_suffix("." + ending), dpi=110)


if __name__ == "__main__":
    main()

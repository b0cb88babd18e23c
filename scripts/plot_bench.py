#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Draws what scripts/bench.sh has measured:

  scripts/plot_bench.py FOLDER [OUTPUT]     # OUTPUT.svg and OUTPUT.png; default FOLDER/bench

A colour means the same in every panel; a dashed line or an open marker is the other way to do it.
Needs Debian's python3-matplotlib.
"""

import argparse
import json
import sys
from pathlib import Path

OURS, LIMIT, MPI, GLOO = "#1b6ca8", "#777777", "#d1495b", "#c98a00"


def fail(what):
    sys.exit(f"plot_bench.py: {what}")


def load(path):
    """What a benchmark has written; nothing where it has not run."""
    if not path.exists():
        return []
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        return fail(f"{path}: {error}")


def size_name(size):
    for unit, name in ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")):
        if size >= unit:
            return f"{size / unit:g} {name}"
    return f"{size:g} B"


def name_sizes(axes, sizes):
    """Ticks at sizes that were measured, at most six of them."""
    sizes = sorted(set(sizes))
    shown = sizes[::-(-len(sizes) // 6)] if sizes else []
    axes.set_xscale("log", base=2)
    axes.set_xticks(shown, [size_name(size) for size in shown])
    axes.minorticks_off()


def bandwidth(axes, folder, ranks):
    """Bus bandwidth against size."""
    rows = load(folder / f"allreduce.{ranks}.json")
    gloo = load(folder / f"gloo.{ranks}.json")
    factor = 2 * (ranks - 1) / ranks / 1e3

    def line(rows, placement, key, **style):
        chosen = [row for row in rows if row["placement"] == placement and key in row]
        if chosen:
            axes.plot([row["bytes"] for row in chosen],
                      [row["bytes"] / row[key] * factor for row in chosen], marker="o", ms=3, **style)

    line(rows, "arena", "limit_us_p50", color=LIMIT, label="limit of memory")
    line(rows, "arena", "time_us_p50", color=OURS, label="Ringleader, shared memory")
    line(rows, "inplace", "time_us_p50", color=OURS, ls="--", label="Ringleader, ordinary memory")
    line(rows, "inplace", "baseline_time_us_p50", color=MPI, label="best of Open MPI")
    line(gloo, "inplace", "baseline_time_us_p50", color=GLOO, label="Gloo")
    name_sizes(axes, [row["bytes"] for row in rows])
    axes.set_ylim(bottom=0)
    axes.set_ylabel("bus bandwidth, GB/s")
    axes.set_title(f"allreduce, {ranks} ranks")
    axes.legend()


def latency(axes, folder):
    rows = load(folder / "latency.2.json")
    for mode, style in (("plan", {"color": OURS, "label": "Ringleader, in a plan"}),
                        ("dynamic", {"color": OURS, "ls": "--", "label": "Ringleader, negotiated"}),
                        ("mpi", {"color": MPI, "label": "MPI_Allreduce"})):
        chosen = [row for row in rows if row["mode"] == mode]
        axes.plot([row["bytes"] for row in chosen], [row["time_us_p50"] for row in chosen],
                  marker="o", ms=3, **style)
    name_sizes(axes, [row["bytes"] for row in rows])
    axes.set_ylim(bottom=0)
    axes.set_ylabel("time, µs")
    axes.set_title("small blocking allreduce, 2 ranks")
    axes.legend()


def steps(axes, folder):
    """Time of all gradients of a model, a row per model."""
    results = [(path.name.split(".")[1], load(path)) for path in sorted(folder.glob("step.*.2.json"))]
    for kind, label, style in (
            ("limit", "limit of memory", {"color": LIMIT, "marker": "|", "s": 90}),
            ("ringleader", "Ringleader", {"color": OURS}),
            ("mpi-flat", "Open MPI, one tensor", {"color": MPI}),
            ("mpi-each", "Open MPI, each tensor", {"edgecolors": MPI, "facecolors": "none"})):
        points = [(row["step_ms"], place) for place, (_, result) in enumerate(results)
                  for row in result["times"] if row["name"].startswith(kind)]
        if points:
            axes.scatter(*zip(*points), label=label, **style)
    axes.set_yticks(range(len(results)), [name for name, _ in results])
    axes.set_ylim(-0.5, len(results) - 0.5)
    axes.set_xscale("log")
    ticks = [t for t in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000)
             if axes.get_xlim()[0] <= t <= axes.get_xlim()[1]]
    axes.set_xticks(ticks, [str(t) for t in ticks])
    axes.minorticks_off()
    axes.set_xlabel("time, ms")
    axes.set_title("all gradients of a model, 2 ranks")
    axes.legend()


def caption(folder):
    rows = load(folder / "allreduce.2.json")
    types = " and ".join(sorted({row["dtype"] for row in rows}))
    machine = folder / "machine.txt"
    where = machine.read_text(encoding="utf-8").strip() if machine.exists() else "one machine"
    return f"{types}, medians. {where}" if types else where


def draw(folder, output):
    try:
        import matplotlib  # pylint: disable=import-outside-toplevel
    except ModuleNotFoundError:
        fail("needs matplotlib: apt-get install python3-matplotlib, and run it with /usr/bin/python3")
    matplotlib.use("Agg")
    from matplotlib import pyplot  # pylint: disable=import-outside-toplevel

    pyplot.rcParams.update({"font.size": 9, "legend.fontsize": 8, "axes.titlesize": 10,
                            "axes.spines.top": False, "axes.spines.right": False,
                            "axes.grid": True, "grid.alpha": 0.3})
    figure, axes = pyplot.subplots(2, 2, figsize=(8.4, 7))
    bandwidth(axes[0][0], folder, 2)
    bandwidth(axes[0][1], folder, 4)
    latency(axes[1][0], folder)
    steps(axes[1][1], folder)
    figure.text(0.01, 0.01, caption(folder), fontsize=8, color="#444444")
    figure.tight_layout(rect=(0, 0.03, 1, 1))
    for ending in ("svg", "png"):
        path = output.with_name(f"{output.name}.{ending}")
        try:
            figure.savefig(path, dpi=110)
        except OSError as error:
            fail(f"{path}: {error.strerror}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="what bench.sh has written")
    parser.add_argument("output", type=Path, nargs="?")
    options = parser.parse_args()
    if not any(options.folder.glob("*.json")):
        fail(f"{options.folder}: no results of scripts/bench.sh (*.json)")
    try:
        draw(options.folder, options.output or options.folder / "bench")
    except (KeyError, IndexError, TypeError) as error:
        fail(f"{options.folder}: not what this version's benchmarks write ({error!r})")


if __name__ == "__main__":
    main()

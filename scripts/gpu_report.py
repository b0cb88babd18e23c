#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What gpu_check.sh has found in a folder, as one JSON file and one table: gpu.json and gpu.md."""

import argparse
import datetime
import json
import subprocess
from pathlib import Path

# Of the measured copy.
PACK_TARGETS = {"resnet50": 0.6, "vgg16": 0.85, "bert-large": 0.85, "gpt2": 0.85}
PER_TENSOR_TARGET = 4.0  # times faster than a copy per tensor on ResNet-50
ENQUEUE_TARGET_US = 5.0
BLOCKING_TARGET_US = 15.0


def lines_of(command):
    try:
        run = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    except (OSError, subprocess.SubprocessError):
        return ["unknown"]
    return run.stdout.strip().splitlines()


def read_json(path):
    """Nothing if a program wrote none, or failed before it did."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []


def pack_targets(rows):
    by_way = {(row["model"], row["way"]): row for row in rows}
    for model, target in PACK_TARGETS.items():
        for way in ("pack", "unpack"):
            row = by_way.get((model, way))
            if row:
                yield f"{way} {model}, of the copy", row["of_copy"], ">=", target
    if ("resnet50", "pack") in by_way:
        ratio = by_way["resnet50", "per tensor"]["time_us_p50"]
        ratio /= by_way["resnet50", "pack"]["time_us_p50"]
        yield "one launch against a copy per tensor, ResNet-50", ratio, ">=", PER_TENSOR_TARGET


def added_us(rows):
    """What ours takes more than raw NCCL for the smallest size."""
    return rows[0]["time_us_p50"] - rows[0]["baseline_time_us_p50"]


def targets(found):
    yield from pack_targets(found["pack"])
    if found["enqueue"]:
        yield "host time beside ncclAllReduce, us", added_us(found["enqueue"]), "<=", \
            ENQUEUE_TARGET_US
    if found["allreduce"]:
        yield "blocking 4-byte allreduce beside raw NCCL, us", added_us(found["allreduce"]), \
            "<=", BLOCKING_TARGET_US


def table(header, rows):
    yield "| " + " | ".join(header) + " |"
    yield "|" + "---|" * len(header)
    for row in rows:
        yield "| " + " | ".join(map(str, row)) + " |"
    yield ""


def markdown(found):
    yield f"# GPU check, {found['date']}"
    yield ""
    for line in found["machine"]:
        yield f"- {line}"
    yield f"- commit {found['commit']}, MPS {found['mps']} for several ranks on one GPU"
    yield ""
    yield from table(["check", "result"], found["checks"].items())
    yield from table(["target", "measured", "wanted", "met"],
                     [(t["what"], f"{t['measured']:.2f}", f"{t['sign']} {t['wanted']}",
                       "yes" if t["met"] else "**no**") for t in found["targets"]])
    yield from table(["model", "way", "us", "GB/s", "of the copy"],
                     [(row["model"], row["way"], f"{row['time_us_p50']:.1f}",
                       f"{row['gb_per_s']:.0f}", f"{row['of_copy']:.2f}")
                      for row in found["pack"]])
    yield "One rank, out of place: NCCL copies on the device. Nothing is sent."
    yield ""
    yield from table(["bytes", "ours, us", "raw NCCL, us", "ratio"],
                     [(row["bytes"], f"{row['time_us_p50']:.1f}",
                       f"{row['baseline_time_us_p50']:.1f}", f"{row['vs_baseline']:.2f}")
                      for row in found["allreduce"]])
    for epoch in (found["train"] or {}).get("epochs", []):
        yield (f"- train_mnist, one epoch: loss {epoch['train_loss']:.4f}, test accuracy "
               f"{100 * epoch['test_accuracy']:.2f} %, {epoch['images_per_second']:.0f} images/s")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--mps", default="off")
    parser.add_argument("--commit", default="unknown")
    arguments = parser.parse_args()
    folder = arguments.folder
    checks = dict(line.split(" ", 1) for line in (folder / "checks.txt").read_text().splitlines())
    found = {
        "date": datetime.datetime.now(datetime.timezone.utc).date().isoformat(),
        "machine": lines_of(["nvidia-smi", "--query-gpu=name,driver_version",
                             "--format=csv,noheader"]) + lines_of(["nvcc", "--version"])[-2:],
        "commit": arguments.commit, "mps": arguments.mps, "checks": checks,
        "pack": read_json(folder / "pack.json"), "allreduce": read_json(folder / "allreduce.json"),
        "enqueue": read_json(folder / "enqueue.json"), "train": read_json(folder / "train.json")}
    found["targets"] = [
        {"what": what, "measured": measured, "sign": sign, "wanted": wanted,
         "met": measured >= wanted if sign == ">=" else measured <= wanted}
        for what, measured, sign, wanted in targets(found)]
    (folder / "gpu.json").write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    (folder / "gpu.md").write_text("\n".join(markdown(found)) + "\n", encoding="utf-8")
    print(f"written: {folder / 'gpu.md'}")


if __name__ == "__main__":
    main()

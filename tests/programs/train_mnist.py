# SPDX-License-Identifier: Apache-2.0
"""train_mnist for the tests: where it is, small data for it, and its JSON."""

import gzip
import json
import struct
import tempfile
import unittest
from pathlib import Path

import harness

PROGRAM = harness.BUILD / "examples" / "train_mnist"
FASHION_MNIST = Path("/usr/share/datasets/fashion-mnist")
IMAGES = {"train": "train-images-idx3-ubyte", "t10k": "t10k-images-idx3-ubyte"}
LABELS = {"train": "train-labels-idx1-ubyte", "t10k": "t10k-labels-idx1-ubyte"}
SIDE = 28

needs_program = unittest.skipUnless(PROGRAM.exists(), "train_mnist was not built")
needs_data = unittest.skipUnless(FASHION_MNIST.is_dir(), "dataset-fashion-mnist is not installed")
needs_mpi = unittest.skipUnless(harness.MPIRUN, "built without MPI")


def words(*options, program=PROGRAM):
    """On the CPU, unless the options say otherwise."""
    device = [] if "--device" in options else ["--device", "cpu"]
    return [str(program), "--no-progress", *device, *map(str, options)]


def idx(magic, count, dimensions, content):
    return struct.pack(f">{2 + len(dimensions)}I", magic, count, *dimensions) + content


def write_data(directory, count=16):
    """A valid data set of few images, plain."""
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    for part in ("train", "t10k"):
        pixels = bytes(i % 251 for i in range(count * SIDE * SIDE))
        (directory / IMAGES[part]).write_bytes(idx(0x803, count, (SIDE, SIDE), pixels))
        labels = bytes(i % 10 for i in range(count))
        (directory / LABELS[part]).write_bytes(idx(0x801, count, (), labels))
    return directory


def compress(path):
    """Replaces a file by its gzip."""
    content = gzip.compress(path.read_bytes())
    path.unlink()
    compressed = path.with_name(path.name + ".gz")
    compressed.write_bytes(content)
    return compressed


def train(*options, ranks=None, program=PROGRAM, timeout_s):
    """Trains on Fashion-MNIST; returns the run and its JSON, None if it wrote none."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "result.json"
        line = words("--data", FASHION_MNIST, "--json", file, *options, program=program)
        run = harness.run(line, timeout_s, ranks)
        return run, json.loads(file.read_text()) if run.exit_code == 0 else None

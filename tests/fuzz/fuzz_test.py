# SPDX-License-Identifier: Apache-2.0
"""Builds the fuzz targets with clang and runs them for a minute, starting from the kept corpus. Skipped
where clang or its fuzzer is missing, or where the build is one of the sanitizers' already.

  tests/fuzz/fuzz_test.py --grow SECONDS     # runs longer and keeps what covers something new
"""

import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

import harness

SECONDS = 60
CLANG = next(filter(None, map(shutil.which, ["clang++", "clang++-19", "clang++-14"])), None)
FLAGS = ["-std=c++20", "-O1", "-g", "-w", "-fsanitize=fuzzer,address,undefined",
         "-fno-sanitize-recover=all"]
PROTOCOL = sorted((harness.SOURCE / "core/protocol").glob("*.cc"))
CORE = [harness.SOURCE / f"core/{name}.cc"
        for name in ("check", "edit_distance", "source_location", "status", "tensor", "types")]
SIMULATOR = [harness.SOURCE / f"tests/sim/{name}.cc"
             for name in ("checker", "generator", "simulation")]
TARGETS = {"decoder": [], "scenario": SIMULATOR}


def has_fuzzer():
    if CLANG is None or harness.SANITIZE:
        return False
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "t.cc"
        source.write_text('#include <cstddef>\nextern "C" int LLVMFuzzerTestOneInput('
                          "const unsigned char*, std::size_t) { return 0; }\n")
        return subprocess.run([CLANG, *FLAGS, source, "-o", Path(folder) / "t"],
                              capture_output=True, check=False).returncode == 0


def build(target):
    """Two compilers at a time; most of the sources are shared, so they are compiled once."""
    folder = harness.BUILD / "fuzz"
    folder.mkdir(exist_ok=True)
    roots = [f"-I{harness.BUILD}/roots/{module}" for module in ("core", "protocol")]
    sources = [*CORE, *PROTOCOL, *TARGETS[target],
               harness.SOURCE / f"tests/fuzz/{target}_fuzz.cc"]
    objects, running = [], []
    for source in sources:
        output = folder / (source.parent.name + "_" + source.stem + ".o")
        objects.append(output)
        if output.exists() and output.stat().st_mtime > newest_source():
            continue
        running.append(subprocess.Popen([CLANG, *FLAGS, *roots, "-c", source, "-o", output]))
        while len(running) >= 2:
            assert running.pop(0).wait() == 0, "compilation failed"
    for process in running:
        assert process.wait() == 0, "compilation failed"
    program = folder / target
    harness.checked([CLANG, *FLAGS, *objects, "-lfmt", "-o", program], timeout_s=120)
    return program


def newest_source():
    folders = ["core", "core/protocol", "tests/sim", "tests/fuzz", "tests/protocol"]
    return max(path.stat().st_mtime for folder in folders
               for path in (harness.SOURCE / folder).glob("*.[hc]*"))


def corpus(target):
    return harness.SOURCE / "tests/fuzz/corpus" / target


def fuzz(target, program, found):
    found.mkdir()
    return subprocess.Popen(
        [program, f"-max_total_time={SECONDS}", "-max_len=4096", "-timeout=20",
         "-rss_limit_mb=2048", f"-artifact_prefix={harness.BUILD}/fuzz/", found, corpus(target)],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


@unittest.skipUnless(has_fuzzer(), "clang++ with -fsanitize=fuzzer not found")
class Fuzz(unittest.TestCase):
    def test_all_targets_at_once(self):
        programs = {target: build(target) for target in TARGETS}
        with tempfile.TemporaryDirectory() as found:
            running = {target: fuzz(target, program, Path(found) / target)
                       for target, program in programs.items()}
            outcomes = {target: (process.communicate()[1], process.returncode)
                        for target, process in running.items()}
        for target, (report, exit_code) in outcomes.items():
            with self.subTest(target):
                self.assertEqual(exit_code, 0, report[-4000:])
                self.assertIn("Done", report)


def grow(seconds):
    for target in TARGETS:
        program = build(target)
        with tempfile.TemporaryDirectory() as found:
            subprocess.run([program, f"-max_total_time={seconds}", "-max_len=1024", found,
                            corpus(target)], check=True)
            subprocess.run([program, "-merge=1", corpus(target), found], check=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--grow"]:
        grow(int(sys.argv[2]))
    else:
        harness.main()

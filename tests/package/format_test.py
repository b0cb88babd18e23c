# SPDX-License-Identifier: Apache-2.0
"""All C++ sources are as clang-format would write them."""

import shutil
import subprocess
import unittest

import harness

FOLDERS = ["benchmarks", "collectives", "core", "examples", "ops", "tests"]
VERSION = 14  # Debian 12's; others write some lines differently
SUFFIXES = {".h", ".cc", ".cu"}


class Format(unittest.TestCase):
    def test_clang_format_would_change_nothing(self):
        program = shutil.which("clang-format")
        if program is None:
            self.skipTest("clang-format is not installed")
        version = subprocess.run([program, "--version"], capture_output=True, text=True, check=True)
        if f"version {VERSION}." not in version.stdout:
            self.skipTest(f"not clang-format {VERSION}, whose form the sources have")
        files = sorted(file for folder in FOLDERS for file in (harness.SOURCE / folder).rglob("*")
                       if file.suffix in SUFFIXES)
        self.assertGreater(len(files), 50)
        harness.checked([program, "--dry-run", "-Werror", *files], timeout_s=120)


if __name__ == "__main__":
    harness.main()

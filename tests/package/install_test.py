# SPDX-License-Identifier: Apache-2.0
"""The installed copy is all that a user's program needs.

In a sanitizer's build the library is an instrumented one, so the user's program is too.
"""

import os
import shutil
import subprocess
import unittest

import harness

FOLDER = harness.BUILD / "tests" / "package_install"
PREFIX = FOLDER / "prefix"
EXAMPLE = harness.SOURCE / "examples" / "hello_allreduce.cc"
FLAGS = [f"-fsanitize={harness.SANITIZE}"] if harness.SANITIZE else []


class Install(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        shutil.rmtree(FOLDER, ignore_errors=True)
        harness.checked(["cmake", "--install", harness.BUILD, "--prefix", PREFIX], timeout_s=60)

    def adds_up(self, program):
        size = 2 if harness.MPIRUN else 1
        run = harness.run([str(program)], timeout_s=60, ranks=size if harness.MPIRUN else None)
        self.assertEqual(run.exit_code, 0, run.text)
        self.assertEqual(sorted(run.out), [f"rank {rank} of {size}: the ranks add up to {size - 1}"
                                           for rank in range(size)])

    def test_find_package_finds_it(self):
        source, build = FOLDER / "consumer", FOLDER / "build"
        shutil.copytree(harness.SOURCE / "tests" / "package" / "consumer", source)
        shutil.copy(EXAMPLE, source)
        harness.checked(["cmake", "-S", source, "-B", build, "-G", "Ninja",
                         f"-DCMAKE_PREFIX_PATH={PREFIX}",
                         f"-DCMAKE_CXX_COMPILER={harness.COMPILER}",
                         f"-DCMAKE_CXX_FLAGS={' '.join(FLAGS)}", *harness.mpi_options()],
                        timeout_s=120)
        harness.checked(["cmake", "--build", build], timeout_s=120)
        self.adds_up(build / "hello")

    def test_pkg_config_finds_it(self):
        if shutil.which("pkg-config") is None:
            self.skipTest("pkg-config is not installed")
        folders = ":".join(str(file.parent) for file in PREFIX.rglob("ringleader.pc"))
        flags = subprocess.run(["pkg-config", "--cflags", "--libs", "ringleader"], check=True,
                               stdout=subprocess.PIPE, text=True,
                               env=dict(os.environ, PKG_CONFIG_PATH=folders)).stdout.split()
        self.assertIn(f"-I{PREFIX / 'include'}",
                      [os.path.normpath(flag) for flag in flags], "the folder it was installed to")
        program = FOLDER / "hello_pkg_config"
        harness.checked([harness.COMPILER, "-std=c++17", *FLAGS, EXAMPLE, "-o", program, *flags],
                        timeout_s=120)
        self.adds_up(program)


if __name__ == "__main__":
    harness.main()

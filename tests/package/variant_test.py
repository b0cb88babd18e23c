# SPDX-License-Identifier: Apache-2.0
"""Other ways to build the library, in one build folder that is configured anew for each, so that most
objects serve both, and later runs.

They are not optimized and use one set of vector instructions, to compile fast, whatever this build
is; a sanitizer's build leaves them out.
"""

import shutil
import unittest

import harness

BUILD_SECONDS_MAX = 900


FOLDER = harness.BUILD / "tests" / "variants"


def build_hello(options):
    """Builds hello_allreduce alone and returns the program."""
    harness.checked(["cmake", "-S", harness.SOURCE, "-B", FOLDER, "-G", "Ninja",
                     f"-DCMAKE_CXX_COMPILER={harness.COMPILER}", "-DCMAKE_BUILD_TYPE=None",
                     "-DCMAKE_CXX_FLAGS=-O0 -DHWY_COMPILE_ONLY_STATIC",
                     "-DRINGLEADER_WITH_CUDA=OFF", "-DRINGLEADER_BUILD_TESTS=OFF",
                     "-DRINGLEADER_BUILD_BENCHMARKS=OFF", *options],
                    timeout_s=120)
    harness.checked(["cmake", "--build", FOLDER, "--target", "hello_allreduce"],
                    timeout_s=BUILD_SECONDS_MAX)
    return str(FOLDER / "examples" / "hello_allreduce")


@unittest.skipIf(harness.SANITIZE, "left to the builds without sanitizers")
class WithoutMpi(unittest.TestCase):
    def test_it_is_a_world_of_one(self):
        program = build_hello(["-DRINGLEADER_WITH_MPI=OFF"])
        libraries = harness.checked(["ldd", program], timeout_s=10)
        self.assertNotIn("libmpi", libraries)
        run = harness.run([program], timeout_s=60)
        self.assertEqual(run.exit_code, 0, run.text)
        self.assertEqual(run.out, ["rank 0 of 1: the ranks add up to 0"])


@unittest.skipIf(harness.SANITIZE, "left to the builds without sanitizers")
class Mpich(unittest.TestCase):
    def test_it_works_with_mpich(self):
        compiler, mpirun = shutil.which("mpicxx.mpich"), shutil.which("mpirun.mpich")
        if not compiler or not mpirun:
            self.skipTest("MPICH is not installed")
        program = build_hello(["-DRINGLEADER_WITH_MPI=ON", *harness.mpi_options(compiler, mpirun)])
        libraries = harness.checked(["ldd", program], timeout_s=10)
        self.assertIn("libmpich", libraries)
        process = harness.start(harness.command([(2, [program])], mpirun))
        run = harness.finish(process, timeout_s=60)
        self.assertEqual(run.exit_code, 0, run.text)
        self.assertEqual(sorted(run.out), [f"rank {rank} of 2: the ranks add up to 1"
                                           for rank in range(2)])


if __name__ == "__main__":
    harness.main()

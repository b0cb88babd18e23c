# SPDX-License-Identifier: Apache-2.0
"""An include that the architecture forbids is not found: a module sees only its own roots.

  forbidden_includes_test.py MODULES_FILE     # lines of: module;folder;folder...
"""

import os
import subprocess
import sys
import unittest

import harness

FOLDERS = {}  # module to the include folders that its sources are compiled with

# For each module, headers that it may and that it may not include.
CORE = "ringleader/core/status.h"
NODE = "ringleader/core/protocol/node.h"
PORT = "ringleader/core/runtime/backend.h"
RUNTIME = "ringleader/core/runtime/runtime.h"
KERNELS = "ringleader/collectives/kernels/reduce.h"
TRANSPORT = "ringleader/collectives/mpi_transport/checked.h"
INPROC = "ringleader/collectives/inproc/inproc.h"
MPI = "ringleader/collectives/mpi/mpi_backend.h"
P2P = "ringleader/collectives/p2p/p2p_backend.h"
P2P_PORT = "ringleader/collectives/p2p/transport.h"
SHM = "ringleader/collectives/shm/shm_backend.h"
NCCL = "ringleader/collectives/nccl/nccl_backend.h"
HIERARCHICAL = "ringleader/collectives/hierarchical/hierarchical_backend.h"
TABLE = "ringleader/collectives/p2p/algorithm_table.h"
OPS = "ringleader/ops/session.h"
RULES = {
    "core": ([CORE], [NODE, PORT, RUNTIME, KERNELS, TRANSPORT, INPROC, MPI, P2P, OPS, "mpi.h"]),
    "protocol": ([CORE, NODE], [PORT, RUNTIME, KERNELS, TRANSPORT, INPROC, OPS, "mpi.h"]),
    "runtime": ([CORE, NODE, PORT, RUNTIME], [KERNELS, TRANSPORT, INPROC, MPI, OPS, "mpi.h"]),
    "kernels": ([CORE, KERNELS], [NODE, PORT, RUNTIME, TRANSPORT, INPROC, OPS, "mpi.h"]),
    "inproc": ([CORE, PORT, KERNELS, INPROC], [NODE, RUNTIME, TRANSPORT, MPI, P2P, OPS, "mpi.h"]),
    "mpi": ([CORE, PORT, KERNELS, TRANSPORT, MPI, "mpi.h"], [NODE, RUNTIME, INPROC, P2P, OPS]),
    "mpi_transport": ([CORE, PORT, TRANSPORT, P2P_PORT, "mpi.h"], [NODE, RUNTIME, KERNELS, P2P, OPS]),
    "p2p": ([CORE, PORT, KERNELS, P2P_PORT, P2P, TABLE],
            [NODE, RUNTIME, INPROC, MPI, TRANSPORT, SHM, OPS, "mpi.h"]),
    "hierarchical": ([CORE, PORT, KERNELS, TABLE, HIERARCHICAL],
                     [NODE, RUNTIME, P2P, SHM, TRANSPORT, OPS, "mpi.h"]),
    "shm": ([CORE, PORT, KERNELS, SHM], [NODE, RUNTIME, P2P, TRANSPORT, OPS, "mpi.h"]),
    "nccl": ([CORE, PORT, NCCL], [NODE, RUNTIME, P2P, SHM, TRANSPORT, OPS, "mpi.h"]),
    "ops": ([CORE, NODE, RUNTIME, OPS], [INPROC, MPI, P2P, TRANSPORT, "mpi.h"]),
    "world": ([CORE, OPS, TRANSPORT, MPI, P2P], [INPROC]),
    "public": ([CORE, OPS], [NODE, PORT, RUNTIME, KERNELS, INPROC, "ringleader/core/topology.h"]),
}


def include(module, header):
    """The preprocessor's exit code and messages for one line in a source of the module."""
    line = [harness.COMPILER, "-std=c++20", "-E", "-o", os.devnull, "-x", "c++", "-"]
    line += [f"-I{folder}" for folder in FOLDERS[module]]
    # What else a user's shell adds must not hide the difference.
    variables = {name: value for name, value in os.environ.items() if name != "CPLUS_INCLUDE_PATH"}
    result = subprocess.run(line, input=f"#include <{header}>\n", text=True, env=variables,
                            capture_output=True, timeout=60, check=False)
    return result.returncode, result.stderr


def cases(which):
    """All (module, header) of the modules that this build has."""
    return [(module, header) for module, headers in RULES.items() if module in FOLDERS
            for header in headers[which]]


class ForbiddenIncludes(unittest.TestCase):
    def test_permitted_includes_are_found(self):
        self.assertIn(("core", CORE), cases(0))
        for module, header in cases(0):
            with self.subTest(f"{module} includes {header}"):
                code, messages = include(module, header)
                self.assertEqual(code, 0, messages)

    def test_forbidden_includes_are_not(self):
        self.assertIn(("core", "mpi.h"), cases(1))
        for module, header in cases(1):
            with self.subTest(f"{module} includes {header}"):
                code, messages = include(module, header)
                self.assertNotEqual(code, 0)
                # For this reason and no other.
                self.assertRegex(messages, f"{header}: No such file|'{header}' file not found")


if __name__ == "__main__":
    with open(sys.argv.pop(1), encoding="utf-8") as file:
        for entry in file.read().split():
            name, *folders = entry.split(";")
            FOLDERS[name] = [folder for folder in folders if folder]
    harness.main()

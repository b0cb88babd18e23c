# SPDX-License-Identifier: Apache-2.0
"""Shows on small examples that each rule of tidy.py bites, and that it lets good code pass."""

import unittest

import tidy

CPP = "// SPDX-License-Identifier: Apache-2.0\n"
HEADER = CPP + "#pragma once\n"
SHELL = "# SPDX-License-Identifier: Apache-2.0\n"
PUBLIC = frozenset({"ringleader.h", "core/status.h", "ops/session.h"})


def messages(path, text):
    return tidy.violations(tidy.Source(path, text, PUBLIC))


def function_of(lines):
    return "int f() {\n" + "  g();\n" * (lines - 2) + "}\n"


class Tidy(unittest.TestCase):
    def bites(self, path, text, expected):
        found = messages(path, text)
        self.assertEqual(len(found), 1, found)
        self.assertRegex(found[0], rf"^{path}:\d+: .*{expected}")

    def passes(self, path, text):
        self.assertEqual(messages(path, text), [])

    def may_include(self, folder, header):
        self.passes(f"{folder}/x.cc", f"{CPP}#include <{header}>\n")

    def may_not_include(self, folder, header):
        self.bites(f"{folder}/x.cc", f"{CPP}#include <{header}>\n", f"<{header}>")

    def test_the_licence_comes_first(self):
        self.bites("scripts/a.sh", "#!/bin/sh\nset -e\n", "first line")
        self.bites("core/CMakeLists.txt", "", "first line")
        self.passes("scripts/a.sh", "#!/bin/sh\n" + SHELL)

    def test_a_file_has_at_most_500_lines(self):
        self.bites("scripts/a.py", SHELL + "x = 1\n" * 500, "501 lines")
        self.passes("scripts/a.py", SHELL + "x = 1\n" * 299)

    def test_a_function_has_at_most_70_lines(self):
        self.bites("core/a.cc", CPP + function_of(71), "71 lines")
        self.passes("core/a.cc", CPP + function_of(70) + function_of(70))

    def test_functions_are_found_in_scopes_and_after_initializers(self):
        method = "namespace a {\nclass B {\n public:\n" + function_of(71) + "};\n}\n"
        self.bites("core/a.cc", CPP + method, "71 lines")
        constructor = "A::A(int b)\n    : b_{b}, c_{1} {\n" + "  g({});\n" * 68 + "}\n"
        self.bites("core/a.cc", CPP + constructor, "71 lines")
        self.passes("core/a.cc", CPP + "class A {\n" + "  int f() { return 1; }\n" * 90 + "};\n")

    def test_banned_words_are_found_outside_of_comments_and_strings(self):
        for word in tidy.BANNED_IN_CPP:
            self.bites("ops/a.cc", f"{CPP}{word};\n", word)
            self.passes("ops/a.cc", f'{CPP}// {word}\nconst char* a = "{word}";\n')

    def test_reminders_are_banned_also_in_comments(self):
        for word in tidy.BANNED_ANYWHERE:
            self.bites("ops/a.cc", f"{CPP}// {word}: later\n", word)
            self.bites("scripts/a.py", f"{SHELL}# {word}\n", word)

    def test_white_space_and_columns(self):
        self.bites("scripts/a.sh", SHELL + "a\tb\n", "tab")
        self.bites("scripts/a.sh", SHELL + "a \n", "white space")
        self.bites("core/a.cc", CPP + "// " + "a" * 98 + "\n", "101 columns")

    def test_a_header_has_pragma_once(self):
        self.bites("core/a.h", CPP, "#pragma once")
        self.passes("core/a.h", HEADER)

    def test_only_ops_env_reads_the_environment(self):
        self.bites("ops/session.cc", CPP + 'std::getenv("A");\n', "getenv")
        self.passes("ops/session/settings.cc", CPP + 'std::getenv("A");\n')

    def test_only_backoff_sleeps(self):
        call = "std::this_thread::sleep_for(1ms);\n"
        self.bites("core/runtime/runtime.cc", CPP + call, "sleeping")
        self.passes("core/runtime/backoff.h", HEADER + call)
        self.passes("tests/runtime/a.cc", CPP + call)

    def test_core_includes_core_only(self):
        self.may_include("core", "ringleader/core/status.h")
        self.may_not_include("core", "ringleader/core/protocol/node.h")
        self.may_not_include("core", "ringleader/collectives/mpi/mpi_backend.h")

    def test_the_protocol_does_not_know_the_runtime(self):
        self.may_include("core/protocol", "ringleader/core/protocol/node.h")
        self.may_not_include("core/protocol", "ringleader/core/runtime/backend.h")

    def test_the_runtime_knows_no_backend(self):
        self.may_include("core/runtime", "ringleader/core/protocol/node.h")
        self.may_not_include("core/runtime", "ringleader/collectives/inproc/inproc.h")

    def test_a_backend_knows_the_ports_and_the_kernels(self):
        for header in ("core/status.h", "core/runtime/backend.h", "collectives/kernels/reduce.h",
                       "collectives/p2p/segment_stream.h"):
            self.may_include("collectives/p2p", f"ringleader/{header}")
        for header in ("core/protocol/node.h", "core/runtime/runtime.h", "ops/session.h",
                       "collectives/inproc/inproc.h", "collectives/mpi_transport/checked.h"):
            self.may_not_include("collectives/p2p", f"ringleader/{header}")
        self.may_not_include("collectives/kernels", "ringleader/core/runtime/backend.h")

    def test_ops_knows_all_but_the_programs(self):
        self.may_include("ops", "ringleader/core/runtime/runtime.h")
        self.may_not_include("ops", "ringleader/tests/support/watchdog.h")

    def test_programs_use_public_headers(self):
        self.may_include("examples/a", "ringleader/ringleader.h")
        self.may_not_include("examples/a", "ringleader/core/runtime/runtime.h")
        self.may_not_include("examples", "ringleader/core/topology.h")
        self.may_include("tests/ops", "ringleader/core/topology.h")

    def test_only_mpi_folders_include_mpi(self):
        self.may_include("collectives/mpi", "mpi.h")
        self.may_include("collectives/mpi_transport", "mpi.h")
        self.may_include("tests/ops", "mpi.h")
        for folder in ("core", "ops", "collectives/inproc", "collectives/p2p", "examples"):
            self.may_not_include(folder, "mpi.h")

    def test_public_headers_need_the_standard_library_only(self):
        self.passes("ops/session.h", HEADER + "#include <ringleader/core/status.h>\n")
        self.passes("ops/session.h", HEADER + "#include <cstdint>\n")
        for header in ("fmt/core.h", "ringleader/core/topology.h"):
            self.bites("ops/session.h", f"{HEADER}#include <{header}>\n", "public header")

    def test_our_headers_have_one_spelling(self):
        self.bites("core/a.cc", CPP + '#include "status.h"\n', "not spelled")
        self.passes("examples/a/b.cc", CPP + '#include "c.h"\n')


def main():
    tests = unittest.defaultTestLoader.loadTestsFromTestCase(Tidy)
    return 0 if unittest.TextTestRunner(verbosity=1).run(tests).wasSuccessful() else 1

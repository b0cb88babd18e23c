# SPDX-License-Identifier: Apache-2.0
"""The table of variables in ops/README.md has those that the library reads, and no others."""

import re
import unittest

import harness


class Settings(unittest.TestCase):
    def test_the_table_has_what_is_read(self):
        source = (harness.SOURCE / "ops" / "env.cc").read_text()
        listed = source[source.index("kVariables[] = {"):]
        known = set(re.findall(r'"(RINGLEADER_\w+)"', listed[:listed.index("};")]))
        self.assertGreater(len(known), 20)
        used = set(re.findall(r'"(RINGLEADER_\w+)"', source.replace(listed, ""))) | set(
            re.findall(r'read\w*\("(RINGLEADER_\w+)"', source))
        self.assertEqual(used - known - {"RINGLEADER_", "RINGLEADER_TEST_", "RINGLEADER_BENCH_"},
                         set(), "read, but not among the known")
        readme = (harness.SOURCE / "ops" / "README.md").read_text()
        rows = [line.split("|")[1] for line in readme.splitlines()
                if line.startswith("| `RINGLEADER_")]
        table = set(re.findall(r"`(RINGLEADER_\w+)`", " ".join(rows)))
        self.assertEqual(table, known)


if __name__ == "__main__":
    harness.main()

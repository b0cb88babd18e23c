# SPDX-License-Identifier: Apache-2.0
"""Whether gradients are means or sums has no silent default: who does not say it cannot compile."""

import subprocess
import tempfile
import unittest
from pathlib import Path

import harness

PROGRAM = """
#include <ringleader/ringleader.h>
struct Sgd {
  std::vector<std::vector<float>> values, slopes;
  auto& parameters() { return values; }
  auto& gradients() { return slopes; }
  void step() {}
  MEMBER
};
void wrap(Sgd& sgd) { ringleader::DistributedOptimizer optimizer(sgd ARGUMENT); }
"""


def compile_with(member, argument):
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "t.cc"
        source.write_text(PROGRAM.replace("MEMBER", member).replace("ARGUMENT", argument))
        return subprocess.run([harness.COMPILER, "-std=c++17", "-fsyntax-only",
                               f"-I{harness.BUILD}/roots/public", source],
                              capture_output=True, text=True, timeout=120, check=False)


class Meaning(unittest.TestCase):
    def test_saying_nothing_is_a_compile_time_error_that_explains(self):
        result = compile_with("", "")
        self.assertNotEqual(result.returncode, 0)
        self.assertIn("are means or sums over the local batch", result.stderr)
        self.assertIn("static constexpr auto gradient_meaning", result.stderr)

    def test_saying_it_in_either_place_compiles(self):
        meaning = "ringleader::GradientMeaning::mean"
        for member, argument in ((f"static constexpr auto gradient_meaning = {meaning};", ""),
                                 ("", f", {meaning}")):
            result = compile_with(member, argument)
            self.assertEqual(result.returncode, 0, result.stderr)


if __name__ == "__main__":
    harness.main()

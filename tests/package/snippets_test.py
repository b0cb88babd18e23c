# SPDX-License-Identifier: Apache-2.0
"""A snippet of a README that does not compile, or that is not what the example does.

  snippets_test.py MODULES_FILE     # lines of: module;folder;folder..., of which `public` is used

A block of C++ is compiled inside the function that SURROUNDINGS has for the block's first line; `...`
stands for what a program does there. The two sides of a diff are lines of two examples.
"""

import os
import re
import subprocess
import sys
import unittest

import harness

FOLDERS = []

PREAMBLE = """\
#include <ringleader/ringleader.h>
struct Network {};
struct Sgd {  // as README says: the program's own
  Sgd(Network&, float, float) {}
  void step() {}
  template <typename Visit>
  void visit_parameters(Visit&&) {}
};
template <>
struct ringleader::OptimizerAdapter<Sgd> {
  std::vector<Slot> slots(Sgd&);
  void step(Sgd& sgd) { sgd.step(); }
};
"""

# By the first line of a block: what it needs around it.
SURROUNDINGS = {
    "ringleader::init();                                // at the start": """
void snippet(Network& network, float learning_rate, float momentum) {
  %s
}
""",
    "ringleader::init();": """
using ringleader::DType;
using ringleader::Device;
void cudaSetDevice(int);
void snippet(ringleader::DistributedOptimizer<Sgd>& optimizer, void* device_pointer,
             std::int64_t count, void* stream, std::size_t i) {
  %s
}
""",
}


def blocks(language):
    """All (file, text) of fenced blocks in this language."""
    files = [file for file in harness.SOURCE.rglob("*.md")
             if "build" not in file.relative_to(harness.SOURCE).parts]
    fence = re.compile(rf"^ *```{language}\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
    return [(file.relative_to(harness.SOURCE), block) for file in files
            for block in fence.findall(file.read_text(encoding="utf-8"))]


def compile_errors(source):
    line = [harness.COMPILER, "-std=c++17", "-fsyntax-only", "-Wall", "-x", "c++", "-"]
    line += [f"-I{folder}" for folder in FOLDERS]
    result = subprocess.run(line, input=source, text=True, capture_output=True, timeout=120,
                            check=False)
    return result.stderr if result.returncode != 0 else ""


class Snippets(unittest.TestCase):
    def test_cpp_compiles(self):
        found = blocks("cpp")
        self.assertGreaterEqual(len(found), 2)
        for file, block in found:
            first = block.splitlines()[0]
            with self.subTest(f"{file}: {first}"):
                self.assertIn(first, SURROUNDINGS, "say what this block needs around it")
                body = block.replace("...", "")
                self.assertEqual(compile_errors(PREAMBLE + SURROUNDINGS[first] % body), "")

    def test_a_wrong_name_is_noticed(self):
        surroundings = SURROUNDINGS["ringleader::init();"]
        self.assertIn("setp", compile_errors(PREAMBLE + surroundings % "optimizer.setp();"))

    def test_diffs_are_of_the_examples(self):
        examples = harness.SOURCE / "examples" / "torch"
        before, after = ([line.strip() for line in (examples / name).read_text().splitlines()]
                         for name in ("single.cc", "mnist.cc"))
        found = blocks("diff")
        self.assertEqual(len(found), 1)
        for line in found[0][1].splitlines():
            mark, text = line[0], line[1:].strip()
            if text == "...":
                continue
            if mark != "+":
                self.assertIn(text, before)
            if mark != "-":
                self.assertIn(text, after)


if __name__ == "__main__":
    with open(sys.argv.pop(1), encoding="utf-8") as modules:
        for entry in modules.read().split():
            name, *folders = entry.split(";")
            if name == "public":
                FOLDERS = [folder for folder in folders if folder]
    os.environ.pop("CPLUS_INCLUDE_PATH", None)
    harness.main()

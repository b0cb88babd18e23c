# SPDX-License-Identifier: Apache-2.0
"""Documents that say what is not so: snippets that do not compile, diffs that are not what the examples
do, messages that the library does not have, links that lead nowhere.

  documents_test.py MODULES_FILE [TORCH_FOLDER...]
                                    # lines of: module;folder;folder..., of which `public` is used

A block of C++ is compiled inside the surroundings that the comment before it names,
`<!-- snippet: NAME -->`; `...` stands for what a program does there. The two sides of a diff,
`<!-- diff: BEFORE AFTER -->`, are lines of two examples.
"""

import os
import re
import subprocess
import sys
import unittest

import harness

FOLDERS = []
TORCH_FOLDERS = []

PREAMBLE = """\
#include <ringleader/ringleader.h>
#include <array>
#include <cmath>
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
void backward();
bool next_batch();
"""

SURROUNDINGS = {
    "wrapping": """
void snippet(Network& network, float learning_rate, float momentum) {
  %s
}
""",
    "gpu": """
using ringleader::DType;
using ringleader::Device;
void cudaSetDevice(int);
void snippet(ringleader::DistributedOptimizer<Sgd>& optimizer, void* device_pointer,
             std::int64_t count, void* stream, std::size_t i) {
  %s
}
""",
    "optimizer": """
void snippet(ringleader::DistributedOptimizer<Sgd>& optimizer) {
  %s
}
""",
    "sets": """
void snippet(Sgd& sgd) {
  %s
}
""",
    "metrics": """
void snippet(std::int64_t correct, std::int64_t seen) {
  %s
}
""",
    "arrays": """
void update(float*, float*, float);
void backward(float*);
void snippet(float* parameters, float* gradients, float learning_rate, int steps) {
  %s
}
""",
    "adapter": """
namespace my {
struct Adam {
  float *weights, *gradients, *moment;
  std::int64_t count;
  double learning_rate;
  void step();
};
}
%s
void use(my::Adam& adam) {
  ringleader::DistributedOptimizer optimizer(adam, ringleader::GradientMeaning::mean);
  optimizer.step();
  ringleader::broadcast_optimizer_state(optimizer);
}
""",
    "function": """
using Vector = std::vector<double>;
std::vector<float> samples_of(int rank, int size);
struct LogisticRegression {
  explicit LogisticRegression(std::vector<float>);
  double EvaluateWithGradient(const Vector& x, Vector& gradient);
};
struct Lbfgs {
  template <typename Function>
  double Optimize(Function& function, Vector& x) {
    Vector gradient(x.size());
    return function.EvaluateWithGradient(x, gradient);
  }
};
void snippet(Lbfgs& lbfgs, Vector& x) {
  %s
}
""",
    "torch": """
#include <ringleader/ops/adapters/torch.h>
torch::Tensor loss_of(torch::nn::Linear& model, std::int64_t sample);
void snippet(torch::nn::Linear& model, std::int64_t samples) {
  %s
}
""",
}


def documents():
    return [file for file in harness.SOURCE.rglob("*.md")
            if "build" not in file.relative_to(harness.SOURCE).parts]


def blocks(language, kind):
    """All (file, what the comment before it says, text) of fenced blocks in this language."""
    fence = re.compile(rf"(?:^ *<!-- {kind}: ([^>]*) -->\n)?^ *```{language}\n(.*?)^ *```$",
                       re.MULTILINE | re.DOTALL)
    return [(file.relative_to(harness.SOURCE), said, block) for file in documents()
            for said, block in fence.findall(file.read_text(encoding="utf-8"))]


def compile_errors(source):
    line = [harness.COMPILER, "-std=c++17", "-fsyntax-only", "-Wall", "-x", "c++", "-"]
    line += [f"-I{folder}" for folder in FOLDERS]
    line += [f"-isystem{folder}" for folder in TORCH_FOLDERS]
    result = subprocess.run(line, input=source, text=True, capture_output=True, timeout=300,
                            check=False)
    return result.stderr if result.returncode != 0 else ""


class Documents(unittest.TestCase):
    def test_cpp_compiles(self):
        found = blocks("cpp", "snippet")
        self.assertGreaterEqual(len(found), 11)
        for file, name, block in found:
            with self.subTest(f"{file}: {name}"):
                self.assertIn(name, SURROUNDINGS, "say what this block needs around it")
                if name == "torch" and not TORCH_FOLDERS:
                    continue
                body = block.replace("...", "")
                self.assertEqual(compile_errors(PREAMBLE + SURROUNDINGS[name] % body), "")

    def test_a_wrong_name_is_noticed(self):
        self.assertIn("setp", compile_errors(PREAMBLE + SURROUNDINGS["gpu"] % "optimizer.setp();"))

    def test_diffs_are_of_the_examples(self):
        found = blocks("diff", "diff")
        self.assertEqual(len(found), 2)
        for file, names, block in found:
            before, after = ([line.strip() for line in
                              (harness.SOURCE / name).read_text(encoding="utf-8").splitlines()]
                             for name in names.split())
            for line in block.splitlines():
                mark, text = line[0], line[1:].strip()
                if text.strip(".") == "":
                    continue
                with self.subTest(f"{file}: {line}"):
                    if mark != "+":
                        self.assertIn(text, before)
                    if mark != "-":
                        self.assertIn(text, after)

    def test_messages_are_those_of_the_library(self):
        literals = ""
        for folder in ("core", "collectives", "ops"):
            for file in sorted((harness.SOURCE / folder).rglob("*.*")):
                if file.suffix in (".h", ".cc", ".cu"):
                    literals += re.sub(r'"\s*\n\s*"', "", file.read_text(encoding="utf-8"))
        page = (harness.SOURCE / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
        messages = re.findall(r"^### (.*)$", page, re.MULTILINE)
        self.assertGreater(len(messages), 15)
        for message in messages:
            with self.subTest(message):
                self.assertIn(message, literals)

    def test_links_lead_somewhere(self):
        count = 0
        for file in documents():
            for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", file.read_text(encoding="utf-8")):
                if "://" in target:
                    continue
                count += 1
                with self.subTest(f"{file.relative_to(harness.SOURCE)}: {target}"):
                    self.assertTrue((file.parent / target).exists())
        self.assertGreater(count, 50)


if __name__ == "__main__":
    with open(sys.argv.pop(1), encoding="utf-8") as modules:
        for entry in modules.read().split():
            name, *folders = entry.split(";")
            if name == "public":
                FOLDERS = [folder for folder in folders if folder]
    TORCH_FOLDERS = [folder for folder in sys.argv[1:] if folder != "/usr/include"]
    del sys.argv[1:]
    os.environ.pop("CPLUS_INCLUDE_PATH", None)
    harness.main()

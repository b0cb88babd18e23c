# SPDX-License-Identifier: Apache-2.0
"""The small examples compute on 2 and 4 ranks what they compute on one."""

import difflib
import re
import unittest

import harness
import train_mnist as mnist

EXAMPLES = harness.BUILD / "examples"
BATCH = 64  # of all ranks together
# Rounding differs with the number of ranks, and training amplifies it.
LOSS_TOLERANCE = 2e-3


def run(program, ranks, *options):
    """The loss, whether all ranks have the same parameters, and their hash."""
    words = [str(EXAMPLES / program), *map(str, options)]
    ended = harness.run(words, ranks=ranks, timeout_s=120)
    assert ended.exit_code == 0, ended.text
    loss = float(re.search(r"loss ([\d.]+)", ended.text).group(1))
    identical, hashed = re.search(r"parameters (\w+) on \d+ rank\(s\): hash (\w+)",
                                  ended.text).groups()
    return loss, identical, hashed


def needs(program):
    return unittest.skipUnless((EXAMPLES / program).exists(), f"{program} was not built")


@mnist.needs_data
@mnist.needs_mpi
@unittest.skipIf(harness.SANITIZE, "libraries that are not instrumented")
class Examples(unittest.TestCase):
    def compare(self, program, train_limit):
        expected, _, _ = run(program, 1, "--batch-size", BATCH, "--train-limit", train_limit)
        self.assertLess(expected, 2.3, "it learns")
        for ranks in (2, 4):
            loss, identical, _ = run(program, ranks, "--batch-size", BATCH // ranks,
                                     "--train-limit", train_limit)
            self.assertEqual(identical, "identical")
            self.assertLessEqual(abs(loss - expected), LOSS_TOLERANCE * expected, program)

    @needs("custom_sgd")
    def test_custom_sgd(self):
        self.compare("custom_sgd", 6400)

    @needs("lbfgs")
    def test_lbfgs(self):
        self.compare("lbfgs", 3200)

    @needs("dlib_mnist")
    def test_dlib(self):
        self.compare("dlib_mnist", 3200)

    @needs("torch_mnist")
    def test_torch(self):
        self.compare("torch_mnist", 1600)

    @needs("torch_mnist")
    def test_torch_on_one_rank_is_the_program_without_ringleader(self):
        self.assertLess(run("torch_single", 1, "--train-limit", 6400)[0], 1.2)
        self.assertLess(run("torch_mnist", 1, "--train-limit", 6400)[0], 1.2)


class Lines(unittest.TestCase):
    def test_three_lines_make_the_torch_program_data_parallel(self):
        def code(name):
            text = (harness.SOURCE / "examples" / "torch" / name).read_text(encoding="utf-8")
            return [line for line in text.splitlines()
                    if line.strip() and not line.startswith(("//", "#include"))]
        added = [line for line in difflib.ndiff(code("single.cc"), code("mnist.cc"))
                 if line.startswith("+ ")]
        self.assertEqual(len(added), 3, added)


@mnist.needs_data
@mnist.needs_mpi
@unittest.skipIf(harness.SANITIZE, "libraries that are not instrumented")
class SameBits(unittest.TestCase):
    """200 steps of 8 virtual workers with 8 images each."""

    @mnist.needs_program
    def test_train_mnist_on_1_2_4_and_8_ranks(self):
        hashes = set()
        for ranks in (1, 2, 4, 8):
            ended, result = mnist.train("--virtual-workers", 8, "--batch-size", 8, "--epochs", 1,
                                        "--train-limit", 12800, ranks=ranks, timeout_s=240)
            self.assertEqual(ended.exit_code, 0, ended.text)
            self.assertIs(result["parameters_identical"], True)
            hashes.add(result["parameters_hash"])
        self.assertEqual(len(hashes), 1, hashes)

    @needs("torch_reproducible")
    def test_torch_on_1_2_4_and_8_ranks(self):
        hashes = {run("torch_reproducible", ranks, "--virtual-workers", 8, "--batch-size", 8)[2]
                  for ranks in (1, 2, 4, 8)}
        self.assertEqual(len(hashes), 1, hashes)

    @mnist.needs_program
    def test_a_number_of_workers_that_the_ranks_do_not_divide_is_refused(self):
        ended, _ = mnist.train("--virtual-workers", 8, "--train-limit", 64, "--epochs", 1, ranks=3,
                               timeout_s=120)
        self.assertNotEqual(ended.exit_code, 0)
        self.assertIn("power of two and a multiple of the number of ranks (3)", ended.text)


if __name__ == "__main__":
    harness.main()

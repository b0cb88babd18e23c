# SPDX-License-Identifier: Apache-2.0
"""What is wrong with the options or the data is said once, in one line, and ends all ranks."""

import tempfile
import unittest
from pathlib import Path

import harness
import train_mnist as mnist

EXIT_USAGE = 2


@mnist.needs_program
@mnist.needs_mpi
class BadInput(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.data = mnist.write_data(Path(folder.name) / "set")

    def refuses(self, groups, *expected):
        """All ranks end with exit code 2 in time, after one line that has all that is expected."""
        run = harness.finish(harness.start(harness.command(groups)), timeout_s=180)
        self.assertEqual(run.exit_code, EXIT_USAGE, run.text)
        self.assertEqual(len(run.err), 1, run.text)
        self.assertTrue(run.err[0].startswith("train_mnist: "), run.text)
        for part in expected:
            self.assertIn(str(part), run.err[0])
        self.assertEqual(run.out, [], "nothing was trained")

    def refuses_options(self, options, *expected):
        self.refuses([(2, mnist.words("--data", self.data, *options))], *expected)

    def path(self, names, part="train"):
        return self.data / names[part]

    def test_a_missing_directory(self):
        missing = self.data / "missing"
        self.refuses([(2, mnist.words("--data", missing))], "--data", missing)

    def test_a_missing_file(self):
        self.path(mnist.LABELS).unlink()
        self.refuses_options([], self.path(mnist.LABELS))

    def test_a_wrong_magic_number(self):
        content = self.path(mnist.IMAGES).read_bytes()
        self.path(mnist.IMAGES).write_bytes(b"\0\0\x08\x05" + content[4:])
        self.refuses_options([], self.path(mnist.IMAGES), "magic")

    def test_a_truncated_file(self):
        for names, part in ((mnist.IMAGES, "train"), (mnist.LABELS, "t10k")):
            with self.subTest(names[part]):
                content = self.path(names, part).read_bytes()
                self.path(names, part).write_bytes(content[:-1])
                self.refuses_options([], self.path(names, part), "truncated")
                self.path(names, part).write_bytes(content)

    def test_a_truncated_gzip_file(self):
        compressed = mnist.compress(self.path(mnist.IMAGES))
        compressed.write_bytes(compressed.read_bytes()[:-20])
        self.refuses_options([], compressed, "truncated")

    def test_counts_of_images_and_labels_that_differ(self):
        self.path(mnist.LABELS).write_bytes(mnist.idx(0x801, 15, (), bytes(15)))
        self.refuses_options([], self.path(mnist.LABELS), "15", "16")

    def test_batch_size_0(self):
        self.refuses_options(["--batch-size", 0], "--batch-size", "0")

    def test_an_unknown_option(self):
        self.refuses_options(["--bach-size", 8], "--bach-size")

    def test_more_ranks_than_samples(self):
        self.refuses_options(["--train-limit", 1], "2 ranks", "1 training image")

    def test_different_batch_sizes(self):
        groups = [(1, mnist.words("--data", self.data, "--batch-size", size)) for size in (4, 8)]
        self.refuses(groups, "--batch-size", "rank 0 has 4", "rank 1 has 8")

    def test_data_that_is_wrong_on_one_rank_only(self):
        missing = self.data / "missing"
        groups = [(1, mnist.words("--data", path)) for path in (self.data, missing)]
        self.refuses(groups, "--data", missing)


@mnist.needs_program
@mnist.needs_mpi
class DifferentNetworks(unittest.TestCase):
    def test_the_plan_error_names_the_first_difference(self):
        with tempfile.TemporaryDirectory() as folder:
            data = mnist.write_data(folder)
            groups = [(1, mnist.words("--data", data, "--hidden", n)) for n in (64, 96)]
            run = harness.finish(harness.start(harness.command(groups)), timeout_s=180)
        self.assertEqual(run.exit_code, EXIT_USAGE, run.text)
        self.assertEqual(len(run.err), 1, run.text)
        for part in ("rank 0", "rank 1", "64", "96"):
            self.assertIn(part, run.err[0])


@mnist.needs_mpi
class DifferentSettings(unittest.TestCase):
    def test_a_variable_that_is_not_the_same_on_all_ranks_is_named_at_the_start(self):
        hello = str(harness.BUILD / "examples" / "hello_allreduce")
        groups = [(1, [hello]), (1, ["env", "RINGLEADER_TREE_RADIX=4", hello])]
        run = harness.finish(harness.start(harness.command(groups)), timeout_s=180)
        self.assertNotEqual(run.exit_code, 0, run.text)
        self.assertIn("RINGLEADER_TREE_RADIX=8 on rank 0, RINGLEADER_TREE_RADIX=4 on rank 1",
                      run.text)


if __name__ == "__main__":
    harness.main()

# SPDX-License-Identifier: Apache-2.0
"""train_mnist learns the same on a GPU as on the CPU: on the simulated GPU, or on a real one."""

import os
import shutil
import unittest
from unittest import mock

import harness
import train_mnist as mnist

SIMULATED = harness.BUILD / "tests" / "train_mnist_sim"
LOSS_TOLERANCE = 1e-3
STEPS = 100
BATCH = 32


class OnDevice:
    """Compares a program on a GPU with train_mnist on the CPU."""

    def losses(self, program, device, ranks):
        run, result = mnist.train("--batch-size", BATCH, "--epochs", 1, "--device", device,
                                  "--train-limit", BATCH * STEPS * ranks, ranks=ranks,
                                  program=program, timeout_s=120)
        self.assertEqual(run.exit_code, 0, run.text)
        self.assertEqual(result["device"], device)
        self.assertIs(result["parameters_identical"], True)
        self.assertEqual(len(result["steps_loss"]), STEPS)
        return result["steps_loss"]

    def check(self, ranks):
        on_cpu = self.losses(mnist.PROGRAM, "cpu", ranks)
        on_gpu = self.losses(self.program, "cuda", ranks)
        self.assertLess(on_cpu[-1], on_cpu[0] - 0.1, "it does not learn")
        for step, (cpu, gpu) in enumerate(zip(on_cpu, on_gpu)):
            self.assertLessEqual(abs(gpu - cpu), LOSS_TOLERANCE, f"step {step}: {cpu}, {gpu}")

    def test_the_losses_are_those_of_the_cpu(self):
        self.check(1)


@mnist.needs_data
@mnist.needs_mpi
@unittest.skipUnless(SIMULATED.exists(), "built without CUDA or cuDNN")
class Simulated(OnDevice, unittest.TestCase):
    program = SIMULATED

    def test_two_ranks(self):
        self.check(2)

    def test_ranks_that_share_a_gpu_are_told(self):
        with mock.patch.dict(os.environ, SIM_GPU_SHARED="1"):
            run, _ = mnist.train("--device", "cuda", "--epochs", 1, "--train-limit", 64, ranks=2,
                                 program=self.program, timeout_s=60)
            self.assertEqual(run.exit_code, 1, run.text)
            self.assertIn("ranks 0 and 1 use the same GPU", run.text)
            run, result = mnist.train("--device", "auto", "--epochs", 1, "--train-limit", 64,
                                      ranks=2, program=self.program, timeout_s=60)
        self.assertEqual(run.exit_code, 0, run.text)
        self.assertEqual(result["device"], "cpu")

    def test_virtual_workers_stay_on_the_cpu(self):
        run, result = mnist.train("--device", "auto", "--epochs", 1, "--train-limit", 64,
                                  "--virtual-workers", 2, ranks=2, program=self.program,
                                  timeout_s=60)
        self.assertEqual(run.exit_code, 0, run.text)
        self.assertEqual(result["device"], "cpu")


@mnist.needs_data
@unittest.skipUnless(shutil.which("nvidia-smi"), "there is no GPU here")
class Real(OnDevice, unittest.TestCase):
    program = mnist.PROGRAM


if __name__ == "__main__":
    harness.main()

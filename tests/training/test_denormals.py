"""Tiny numbers become 0: arithmetic with them is slow on the CPU, and running means of rare tokens decay into them."""

import subprocess
import sys

CODE = """
import torch
from d2lcli.training.build import prepare
prepare({"hardware": {"threads": None}, "seed": 0}, torch.device("cpu"))
tiny = torch.full((1 << 20,), 2e-38)  # large enough for several threads
print(float((tiny * 0.1).abs().max()))
"""


def test_a_run_flushes_denormal_numbers_in_all_threads() -> None:
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    assert float(done.stdout) == 0.0

"""Penalties, projection and second-order updates in the loop."""

from pathlib import Path

import numpy
import torch
from runs import MLP, assert_equal, outcome, resume, train, weights
from safetensors.torch import load_file

from d2lcli.config import compose
from d2lcli.training.build import build

WHOLE = ("model=linear_regression", "data.limit=100", "hardware=cpu", "hardware.threads=1", "epochs=1")


def test_normal_equation_over_batches_equals_least_squares(tmp_path: Path) -> None:
    """100 examples in batches of 32, the last of 4: one update, numpy's solution."""
    train(tmp_path / "run", *WHOLE, "optim=normal_equation", "data.batch_size=32")
    found = load_file(tmp_path / "run" / "checkpoints" / "last" / "model.safetensors")
    data = build(compose([*WHOLE, "optim=normal_equation", "data.batch_size=32"]).values).dataset.train
    x = numpy.concatenate([data.inputs.double().numpy(), numpy.ones((100, 1))], 1)
    expected = numpy.linalg.lstsq(x, data.targets.double().numpy(), rcond=None)[0][:, 0]
    numpy.testing.assert_allclose(found["linear.weight"][0].numpy(), expected[:-1], rtol=1e-5)
    numpy.testing.assert_allclose(found["linear.bias"].numpy(), expected[-1:], rtol=1e-5)


def test_gd_does_not_depend_on_the_batch_size(tmp_path: Path) -> None:
    results = []
    for size in (100, 30):
        train(tmp_path / str(size), *WHOLE, "optim=gd", "epochs=3", f"data.batch_size={size}")
        results.append(load_file(tmp_path / str(size) / "checkpoints" / "last" / "model.safetensors"))
    for name, tensor in results[0].items():
        torch.testing.assert_close(tensor, results[1][name], rtol=1e-5, atol=1e-6)


def test_l2_equals_the_decay_of_sgd(tmp_path: Path) -> None:
    train(tmp_path / "l2", *MLP, "l2=0.1")
    train(tmp_path / "decay", *MLP, "optim.weight_decay=0.1")
    for name, tensor in weights(tmp_path / "l2").items():
        torch.testing.assert_close(tensor, weights(tmp_path / "decay")[name], rtol=1e-5, atol=1e-6)


def test_weights_stay_within_the_ball_and_a_resume_is_exact(tmp_path: Path) -> None:
    words = (*MLP, "max_norm=0.5", "l1=0.01", "optim=yogi")
    train(tmp_path / "run", *words)
    matrices = [tensor.flatten() for name, tensor in weights(tmp_path / "run").items() if name.endswith("weight")]
    assert torch.cat(matrices).norm().item() <= 0.5 + 1e-6
    train(tmp_path / "part", *words, "epochs=1")
    resume(tmp_path / "part", "epochs=3")
    assert_equal(tmp_path / "part", outcome(tmp_path / "run"))

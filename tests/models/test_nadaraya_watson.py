"""Kernel regression against its definition, written out with numpy."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from d2lcli import config
from d2lcli.commands.app import app
from d2lcli.data.synthetic import sine_curve
from d2lcli.errors import ConfigError
from d2lcli.models.nadaraya_watson import KERNELS, nadaraya_watson
from d2lcli.training.build import build

KERNEL_FORMULAS = {
    "gaussian": lambda u: np.exp(-(u**2) / 2),
    "boxcar": lambda u: (u <= 1).astype(float),
    "constant": np.ones_like,
    "triangular": lambda u: np.maximum(0, 1 - u),
    "epanechnikov": lambda u: np.maximum(0, 1 - u),
    "epanechnikov_true": lambda u: 0.75 * np.maximum(0, 1 - u**2),
}


def test_every_kernel_has_its_formula() -> None:
    assert KERNEL_FORMULAS.keys() == KERNELS.keys()


@pytest.mark.parametrize("sigma", [0.7, 1.0, 2.5])
@pytest.mark.parametrize("kernel", KERNEL_FORMULAS)
def test_the_mean_of_values_weighted_by_the_kernel(kernel: str, sigma: float) -> None:
    generator = torch.Generator().manual_seed(1)
    keys, values = torch.rand(40, 2, generator=generator).double() * 3, torch.randn(40, 3, generator=generator).double()
    queries = torch.rand(25, 2, generator=generator).double() * 3
    model = nadaraya_watson(num_outputs=3, kernel=kernel, sigma=sigma).double().eval()
    model.remember(keys, values)
    u = np.linalg.norm(queries.numpy()[:, None] - keys.numpy()[None], axis=2) / sigma
    alpha = KERNEL_FORMULAS[kernel](u)
    assert (alpha.sum(1) > 0).all()
    expected = alpha @ values.numpy() / alpha.sum(1, keepdims=True)
    np.testing.assert_allclose(
        model(queries).detach().numpy(), expected, rtol=1e-5, atol=1e-7
    )  # ln sigma began in float32


def test_training_leaves_the_query_out() -> None:
    keys, values = torch.tensor([[0.0], [1.0], [3.0]]), torch.tensor([10.0, 20.0, 40.0])
    model = nadaraya_watson(kernel="constant")
    model.remember(keys, values)
    assert model.train()(keys).flatten().tolist() == [30.0, 25.0, 15.0]
    assert model.eval()(keys).flatten().tolist() == pytest.approx([70 / 3] * 3)


@pytest.mark.parametrize("kernel", KERNELS)
def test_a_query_beyond_reach_takes_the_nearest(kernel: str) -> None:
    model = nadaraya_watson(kernel=kernel, sigma=0.01).eval()
    model.remember(torch.tensor([[0.0], [1.0]]), torch.tensor([[5.0], [7.0]]))
    expected = 6.0 if kernel == "constant" else 7.0
    assert model(torch.tensor([[100.0]])).item() == expected
    model.train()(torch.tensor([[0.0]])).sum().backward()
    assert torch.isfinite(model.log_sigma.grad)


def test_the_bandwidth_falls_to_that_of_the_best_left_out_error() -> None:
    data = sine_curve(num_train=200)
    model = nadaraya_watson(sigma=3.0)
    model.remember(data.train.inputs, data.train.targets)
    with torch.no_grad():
        losses = {}
        for sigma in np.geomspace(0.05, 3, 100):
            model.log_sigma.fill_(float(np.log(sigma)))
            losses[float(sigma)] = (model(data.train.inputs) - data.train.targets).square().mean().item()
        model.log_sigma.fill_(float(np.log(3.0)))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    for _ in range(300):
        optimizer.zero_grad()
        (model(data.train.inputs) - data.train.targets).square().mean().backward()
        optimizer.step()
    assert model.log_sigma.exp().item() == pytest.approx(min(losses, key=losses.__getitem__), rel=0.06)


def test_a_run_is_evaluated_from_its_checkpoint(tmp_path: Path) -> None:
    runner = CliRunner()
    run = tmp_path / "run"
    words = ["train", "model=nadaraya_watson", "optim.lr=0.05", "epochs=40", "hardware=cpu", "--run-dir", str(run)]
    assert runner.invoke(app, words).exit_code == 0
    found = runner.invoke(app, ["evaluate", str(run), "--json"])
    assert found.exit_code == 0
    assert (
        json.loads(found.stdout)["metrics"]["rmse"] < 0.5
    )  # of the curve; the noise has .5, and the mean alone leaves 1.2
    smaller = runner.invoke(app, ["evaluate", str(run), "data.num_train=20", "--json"])
    assert json.loads(smaller.stdout)["metrics"] == json.loads(found.stdout)["metrics"]  # from what it was trained on


def test_numbers_are_needed(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="sigma"):
        nadaraya_watson(sigma=0.0)
    with pytest.raises(ConfigError):
        build(config.compose(["model=nadaraya_watson", "data=botchan", "task=regression"]).values)


def test_the_curve() -> None:
    data = sine_curve(amplitudes=(1.0, 0.5), frequencies=(1.0, 4.0), slope=0.0, num_val=11, high=2.0)
    x = np.linspace(0, 2, 11)
    np.testing.assert_allclose(data.val.targets.flatten(), np.sin(x) + 0.5 * np.sin(4 * x), atol=1e-5)
    residual = sine_curve(num_train=20_000).train
    curve = 2 * torch.sin(residual.inputs) + residual.inputs
    assert (residual.targets - curve).std().item() == pytest.approx(0.5, rel=0.03)
    for bad in ({"amplitudes": (1.0, 2.0)}, {"low": 5.0}, {"noise": -1.0}, {"num_train": 0}):
        with pytest.raises(ValueError):
            sine_curve(**bad)

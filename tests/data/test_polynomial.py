"""The polynomial data set: powers over factorials, and targets that the true coefficients reproduce."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from d2lcli.data.dataset import Split
from d2lcli.data.synthetic import polynomial, synthetic_regression


def inputs_of(split: Split) -> Tensor:
    assert isinstance(split.inputs, Tensor)
    return split.inputs.double()


def test_features_and_targets_follow_the_formula() -> None:
    data = polynomial(degree=19, noise=0.0)
    for split in (data.train, data.val):
        features = inputs_of(split)
        x = features[:, 0]
        expected = torch.stack([x**i / math.factorial(i) for i in range(1, 20)], dim=1)
        torch.testing.assert_close(features, expected, rtol=1e-5, atol=1e-12)
        y = 5 + 1.2 * x - 3.4 * x**2 / 2 + 5.6 * x**3 / 6  # Dive into Deep Learning
        torch.testing.assert_close(split.targets[:, 0].double(), y, rtol=1e-5, atol=1e-5)
    assert (len(data.train), len(data.val), data.shape, data.num_outputs) == (100, 100, (19,), 1)


def test_the_noise_has_its_size_and_does_not_depend_on_the_degree() -> None:
    noisy, clean, line = polynomial(num_train=20_000), polynomial(num_train=20_000, noise=0.0), polynomial(degree=1)
    assert (noisy.train.targets - clean.train.targets).std().item() == pytest.approx(0.1, rel=0.02)
    assert torch.equal(line.train.targets, polynomial().train.targets)
    assert torch.equal(inputs_of(line.train), inputs_of(polynomial(degree=30).train)[:, :1])
    assert inputs_of(noisy.train)[:, 0].mean().item() == pytest.approx(0, abs=0.03)


def test_other_coefficients() -> None:
    data = polynomial(degree=2, w=[1.0, 0.0, 0.0, 0.0, 24.0], noise=0.0)  # y = 1 + x^4
    x = inputs_of(data.train)[:, 0]
    torch.testing.assert_close(data.train.targets[:, 0].double(), 1 + x**4, rtol=1e-5, atol=1e-5)
    whole = polynomial(degree=1, w=[1, 2], noise=0.0)  # whole numbers, as YAML may have them
    torch.testing.assert_close(whole.train.targets.double(), 1 + 2 * inputs_of(whole.train))
    assert torch.equal(synthetic_regression(w=[2, -3]).val.targets, synthetic_regression(w=[2.0, -3.0]).val.targets)
    constant = polynomial(w=[2.5], noise=0.0)
    assert torch.equal(constant.val.targets, torch.full((100, 1), 2.5))


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"degree": 0}, "degree: 0 given"),
        ({"w": []}, "w: 0 given"),
        ({"num_val": 0}, "num_val: 0 given"),
        ({"noise": -0.1}, "noise is -0.1"),
        ({"degree": 1 << 28}, "ask for fewer"),
    ],
)
def test_refusals(options: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        polynomial(**options)

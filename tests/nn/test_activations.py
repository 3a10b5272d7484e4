"""Each activation and its gradient against the closed form, computed with the standard library's math."""

import math
from collections.abc import Callable
from typing import get_args

import pytest
import torch
from torch import nn

from d2lcli.nn.activations import Activation, activation

POINTS = [-8.0, -2.5, -1.0, -0.3, -1e-3, 1e-3, 0.3, 1.0, 2.5, 8.0]


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def gauss(x: float) -> float:
    """The density of the standard normal."""
    return math.exp(-x * x / 2) / math.sqrt(2 * math.pi)


def gauss_below(x: float) -> float:
    """Its distribution function."""
    return math.erfc(-x / math.sqrt(2)) / 2


def gelu_tanh(x: float) -> float:
    return 0.5 * x * (1 + math.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def gelu_tanh_slope(x: float) -> float:
    inner = math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)
    inner_slope = math.sqrt(2 / math.pi) * (1 + 3 * 0.044715 * x * x)
    return 0.5 * (1 + math.tanh(inner)) + 0.5 * x * (1 - math.tanh(inner) ** 2) * inner_slope


CLOSED_FORMS: dict[str, tuple[Callable[[float], float], Callable[[float], float]]] = {
    "relu": (lambda x: max(0.0, x), lambda x: float(x > 0)),
    "prelu": (lambda x: max(0.0, x) + 0.25 * min(0.0, x), lambda x: 1.0 if x > 0 else 0.25),
    "sigmoid": (sigmoid, lambda x: sigmoid(x) * (1 - sigmoid(x))),
    "tanh": (lambda x: 2 * sigmoid(2 * x) - 1, lambda x: 4 * sigmoid(2 * x) * (1 - sigmoid(2 * x))),
    "gelu": (lambda x: x * gauss_below(x), lambda x: gauss_below(x) + x * gauss(x)),
    "gelu_tanh": (gelu_tanh, gelu_tanh_slope),
    "silu": (lambda x: x * sigmoid(x), lambda x: sigmoid(x) * (1 + x * (1 - sigmoid(x)))),
    "leaky_relu": (lambda x: max(0.0, x) + 0.01 * min(0.0, x), lambda x: 1.0 if x > 0 else 0.01),
    "identity": (lambda x: x, lambda x: 1.0),
}


def test_every_name_has_a_closed_form() -> None:
    assert set(CLOSED_FORMS) == set(get_args(Activation))


@pytest.mark.parametrize("name", CLOSED_FORMS)
def test_value_and_gradient(name: Activation) -> None:
    value, slope = CLOSED_FORMS[name]
    x = torch.tensor(POINTS, dtype=torch.float64, requires_grad=True)
    y = activation(name).double()(x)
    y.sum().backward()
    torch.testing.assert_close(y.tolist(), [value(point) for point in POINTS], rtol=1e-12, atol=1e-15)
    assert x.grad is not None
    torch.testing.assert_close(x.grad.tolist(), [slope(point) for point in POINTS], rtol=1e-12, atol=1e-15)


def test_relu_has_no_gradient_at_zero() -> None:
    x = torch.zeros(1, requires_grad=True)
    activation("relu")(x).sum().backward()
    assert x.grad is not None
    assert x.grad.item() == 0.0


def test_the_gradient_of_the_sigmoid_is_largest_at_zero() -> None:
    x = torch.linspace(-6, 6, 1201, dtype=torch.float64, requires_grad=True)
    activation("sigmoid")(x).sum().backward()
    assert x.grad is not None
    assert x.grad.max().item() == pytest.approx(0.25, rel=1e-12)
    assert x[x.grad.argmax()].item() == pytest.approx(0.0, abs=1e-12)


def test_prelu_learns_its_slope() -> None:
    module = activation("prelu")
    module(torch.tensor([-2.0, -1.0, 3.0])).sum().backward()
    (slope,) = module.parameters()
    assert slope.grad is not None
    assert slope.grad.item() == -3.0  # the sum of the negative inputs


def test_gradients_vanish_through_a_chain_of_sigmoids() -> None:
    x = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    chain = nn.Sequential(*(activation("sigmoid") for _ in range(20)))
    chain(x).sum().backward()
    assert x.grad is not None
    assert 0 < x.grad.item() <= 0.25**20


def test_modules_are_not_shared() -> None:
    assert activation("prelu") is not activation("prelu")


def test_unknown_name() -> None:
    with pytest.raises(ValueError, match=r"one of relu, .* but it is 'swish'"):
        activation("swish")  # type: ignore[arg-type]

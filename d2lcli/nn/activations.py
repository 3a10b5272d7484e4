"""Activation functions by name, as modules (d2l 5.1).  Each is applied to every element alone."""

from collections.abc import Callable
from typing import Literal

from torch import nn

Activation = Literal["relu", "prelu", "sigmoid", "tanh", "gelu", "gelu_tanh", "silu", "leaky_relu", "identity"]

_MODULES: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,  # max(0, x), gradient 0 at 0
    "prelu": nn.PReLU,  # max(0, x) + a min(0, x), one learnable a, 0.25 at first
    "sigmoid": nn.Sigmoid,  # 1 / (1 + exp(-x)), gradient at most 1/4
    "tanh": nn.Tanh,  # 2 sigmoid(2 x) - 1
    "gelu": nn.GELU,  # x Phi(x), Phi the distribution function of the standard normal
    "gelu_tanh": lambda: nn.GELU(approximate="tanh"),  # x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))) / 2
    "silu": nn.SiLU,  # x sigmoid(x), also called swish
    "leaky_relu": lambda: nn.LeakyReLU(0.01),  # max(0, x) + 0.01 min(0, x)
    "identity": nn.Identity,  # x: a stack of linear layers then stays linear
}


def activation(name: Activation) -> nn.Module:
    """A new module for the activation function `name`; `prelu` brings a parameter of its own.

    Raises:
        ValueError: the name is unknown.
    """
    if name not in _MODULES:
        raise ValueError(f"activation must be one of {', '.join(_MODULES)}, but it is {name!r}.")
    return _MODULES[name]()

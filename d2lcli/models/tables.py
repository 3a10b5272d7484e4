"""Tables instead of networks: a number for each state, or for each state and action (d2l 17.2 and 17.3).

A state is a row of the identity matrix, so a table is a linear layer without bias; unlike one it is kept in float64.
"""

import math

import torch
from torch import Tensor, nn

from d2lcli.nn.checks import require_positive


class ValueTable(nn.Module):
    """V(s), what is to be earned from each state on.

    Attributes:
        values: (S,), float64.
    """

    def __init__(self, states: int, initial: float) -> None:
        super().__init__()
        self.values = nn.Parameter(torch.full((states,), initial, dtype=torch.float64))

    def forward(self, inputs: Tensor) -> Tensor:
        """States as rows of the identity matrix (n, S) -> (n, 1)."""
        return (inputs @ self.values.to(inputs.dtype))[:, None]


class QTable(nn.Module):
    """Q(s, a), what is to be earned from each state on after each action.

    Attributes:
        values: (S, A), float64.
    """

    def __init__(self, states: int, actions: int, initial: float) -> None:
        super().__init__()
        self.values = nn.Parameter(torch.full((states, actions), initial, dtype=torch.float64))

    def forward(self, inputs: Tensor) -> Tensor:
        """States as rows of the identity matrix (n, S) -> (n, A)."""
        return inputs @ self.values.to(inputs.dtype)


def value_table(*, in_features: int = 16, initial: float = 0.0) -> ValueTable:
    """A value for each state.

    Args:
        in_features: states.
        initial: the value to begin with.

    Raises:
        ValueError: no states, or a value that is not finite.
    """
    _check(initial, in_features=in_features)
    return ValueTable(in_features, initial)


def q_table(*, in_features: int = 16, num_outputs: int = 4, initial: float = 1.0) -> QTable:
    """A value for each state and action.

    Args:
        in_features: states.
        num_outputs: actions.
        initial: the value to begin with.  Where it is larger than what can be earned, every action is tried sooner or
            later, because those that were not tried look best; the book begins with 0.

    Raises:
        ValueError: no states or actions, or a value that is not finite.
    """
    _check(initial, in_features=in_features, num_outputs=num_outputs)
    return QTable(in_features, num_outputs, initial)


def _check(initial: float, **sizes: int) -> None:
    require_positive(**sizes)
    if not math.isfinite(initial):
        raise ValueError(f"initial must be finite, but it is {initial}.")

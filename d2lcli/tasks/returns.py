"""Metrics of policies and tables of values: what is earned from the start, and how far a table is from its equation.

They read rows that a tabular task makes, one for each state, or for each episode that was played: see COLUMNS.  Their
`targets` are how likely an episode begins in each state, or 1 for each episode.
"""

from math import isfinite, sqrt
from statistics import NormalDist

import torch
from torch import Tensor

from d2lcli.tasks.metrics import Metric

COLUMNS = ("value", "best", "success", "residual", "error")
"""Of the judged policy: its return from that state on, the best possible one, and how likely it reaches a goal; of the
table: how far it is from its Bellman equation in that state, and from the equation's solution."""


class PolicyMetric(Metric):
    """A metric of policies or tables of values.

    Attributes:
        tabular: whether it needs the tables of an environment, and cannot be estimated by playing.
    """

    tabular = True

    def bind(self, num_outputs: int) -> None:
        """Tasks that predict something call this.

        Raises:
            ValueError: always.
        """
        raise ValueError(f"metric '{self.name}' is for policies, and this task has none")


class StartMean(PolicyMetric):
    """The mean of a column over where episodes begin.

    The interval is mean +- z s / sqrt(n) over episodes that were played; what is computed from tables is exact, and has
    none.
    """

    def __init__(self, name: str, higher_is_better: bool, *columns: str, tabular: bool) -> None:
        super().__init__(name, higher_is_better)
        self.columns = [COLUMNS.index(column) for column in columns]
        self.tabular = tabular

    def zeros(self, device: torch.device | str) -> Tensor:
        return torch.zeros(4, dtype=torch.float64, device=device)  # weights, weights that are 1, sum, sum of squares

    def update(self, outputs: Tensor, targets: Tensor) -> None:
        values = outputs[:, self.columns[0]]
        if len(self.columns) > 1:  # how much the first is below the second
            values = outputs[:, self.columns[1]] - values
        weights = targets.double()
        self.state[0] += weights.sum()
        self.state[1] += (weights == 1).sum()
        self.state[2] += (weights * values).sum()
        self.state[3] += (weights * values.square()).sum()

    def compute(self) -> float:
        weight, _, total, _ = self.state.tolist()
        if weight == 0:
            raise ValueError(f"metric '{self.name}' has seen no start of an episode")
        return float(total / weight)

    def interval(self, confidence: float = 0.95) -> tuple[float, float] | None:
        """See the class; None for fewer than two episodes.

        Raises:
            ValueError: a confidence outside (0, 1), or no examples.
        """
        if not 0 < confidence < 1:
            raise ValueError(f"confidence={confidence!r} must be between 0 and 1")
        mean = self.compute()
        n, episodes, _, squares = self.state.tolist()
        if n < 2 or episodes != n or not isfinite(mean):
            return None
        deviation = sqrt(max(0.0, squares / n - mean * mean) * n / (n - 1))
        half = NormalDist().inv_cdf((1 + confidence) / 2) * deviation / sqrt(n)
        return mean - half, mean + half


class LargestOfStates(PolicyMetric):
    """The largest value of a column, over all states: a maximum norm."""

    def __init__(self, name: str, column: str) -> None:
        super().__init__(name, higher_is_better=False)
        self.column = COLUMNS.index(column)

    def zeros(self, device: torch.device | str) -> Tensor:
        return torch.full((1,), -torch.inf, dtype=torch.float64, device=device)

    def update(self, outputs: Tensor, targets: Tensor) -> None:
        self.state = torch.maximum(self.state, outputs[:, self.column].max())

    def compute(self) -> float:
        found = self.state.item()
        if found == -torch.inf:
            raise ValueError(f"metric '{self.name}' has seen no states")
        return found


def start_value() -> Metric:
    """The discounted return that the judged policy is expected to earn from the start of an episode.

    By a linear solve where the environment has tables, else the mean over episodes that were played.
    """
    return StartMean("start_value", True, "value", tabular=False)


def optimality_gap() -> Metric:
    """How much less that is than the best policy earns, V*(start) - V(start)."""
    return StartMean("optimality_gap", False, "value", "best", tabular=True)


def success_rate() -> Metric:
    """How likely an episode of the judged policy ends in a goal before it is cut off."""
    return StartMean("success_rate", True, "success", tabular=True)


def bellman_residual() -> Metric:
    """The largest distance of the table from the right side of its Bellman equation, over states and actions."""
    return LargestOfStates("bellman_residual", "residual")


def value_error() -> Metric:
    """The largest distance of the table from the solution of its Bellman equation, over states and actions."""
    return LargestOfStates("value_error", "error")

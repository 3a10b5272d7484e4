"""Policy evaluation: V <- sum_a pi(a|s) sum_s' P(s'|s, a) (r + gamma V(s')) of a given policy (d2l 17.2)."""

from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor

from d2lcli.nn.bellman import action_values, policy_values, uniform_policy
from d2lcli.tasks.metrics import Metric
from d2lcli.tasks.supervised import Loss
from d2lcli.tasks.tabular import Sweeping

Given: TypeAlias = Literal["uniform"] | Sequence[int] | Sequence[Sequence[float]]


class PolicyEvaluation(Sweeping):
    """Judges a given policy instead of the greedy one of its table, whose values it finds sweep by sweep.

    Args:
        policy: see `policy_evaluation`.
    """

    def __init__(self, loss: Loss, metrics: Sequence[Metric], gamma: float, policy: Given) -> None:
        super().__init__(loss, metrics, gamma)
        self.chosen = policy

    def bind(self, dataset: Any, device: torch.device) -> None:
        """Take the environment and the policy, and solve it.

        Raises:
            ValueError: the data set has no environment, or the policy is none of it.
        """
        if dataset.environment is not None:
            self.given = read_policy(self.chosen, dataset.environment).to(device)
        super().bind(dataset, device)

    def state_values(self, table: Tensor) -> Tensor:
        return table if table.dim() == 1 else (self.given * table).sum(1)

    def right_side(self, table: Tensor) -> Tensor:
        q = action_values(self.environment, self.state_values(table), self.gamma)
        return q if table.dim() == 2 else (self.given * q).sum(1)

    def solve(self) -> Tensor:
        return policy_values(self.environment, self.given, self.gamma)

    def policy(self, table: Tensor) -> Tensor:
        return self.given

    def rows(self, table: Tensor) -> Tensor:
        """See `Tabular.rows`; the value of a state is the one in the table."""
        found = super().rows(table)
        found[:, 0] = self.state_values(table)
        return found


def read_policy(policy: Given, environment: Any) -> Tensor:
    """Probabilities (S, A) from what a config can say.

    Raises:
        ValueError: not an action, or probabilities that add up to 1, for each state.
    """
    if policy == "uniform":
        return uniform_policy(environment)
    states, actions = environment.num_states, environment.num_actions
    if len(policy) != states:
        raise ValueError(f"policy: {len(policy)} entries, but there are {states} states")
    rows: list[list[float]] = []
    entries: Sequence[Any] = policy
    for state, each in enumerate(entries):
        if isinstance(each, int):
            if not 0 <= each < actions:
                raise ValueError(f"policy: state {state}: {each} is none of the actions 0 .. {actions - 1}")
            rows.append([float(action == each) for action in range(actions)])
        else:
            row = list(each)
            if len(row) != actions or min(row) < 0 or abs(sum(row) - 1) > 1e-6:
                raise ValueError(f"policy: state {state}: {row} are no probabilities of {actions} actions")
            rows.append([share / sum(row) for share in row])
    return torch.tensor(rows, dtype=torch.float64)


def policy_evaluation(
    loss: Loss, metrics: Sequence[Metric] = (), gamma: float = 0.95, policy: Given = "uniform"
) -> PolicyEvaluation:
    """The task of finding what a policy earns.

    Args:
        loss: of the table and what a sweep makes of it.
        metrics: those of `d2lcli.tasks.returns`.
        gamma: the discount, from 0 to 1.
        policy: uniform: all actions are equally likely; an action for each state; or the probabilities of all actions
            for each state.

    Raises:
        ValueError: gamma outside [0, 1], or two metrics of one name.
    """
    return PolicyEvaluation(loss, metrics, gamma, policy)

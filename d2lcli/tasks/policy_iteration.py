"""Policy iteration: evaluate the greedy policy of the values, and take its values (Howard, 1960; d2l 17.2)."""

from collections.abc import Sequence

from torch import Tensor

from d2lcli.nn.bellman import action_values, policy_values
from d2lcli.tasks.metrics import Metric
from d2lcli.tasks.supervised import Loss
from d2lcli.tasks.tabular import Sweeping


class PolicyIteration(Sweeping):
    """A step takes the values of the greedy policy of the table.

    Args:
        sweeps: of an iterative evaluation of that policy, which begins at the table; None for a linear solve.
    """

    def __init__(self, loss: Loss, metrics: Sequence[Metric], gamma: float, sweeps: int | None) -> None:
        super().__init__(loss, metrics, gamma)
        if sweeps is not None and sweeps < 1:
            raise ValueError(f"sweeps={sweeps!r} must be at least 1, or null for a linear solve")
        self.sweeps = sweeps

    def target(self, table: Tensor) -> Tensor:
        policy = self.policy(table)
        if self.sweeps is None:
            values = policy_values(self.environment, policy, self.gamma)
        else:
            values = self.state_values(table)
            for _ in range(self.sweeps):
                values = (policy * action_values(self.environment, values, self.gamma)).sum(1)
        return values if table.dim() == 1 else action_values(self.environment, values, self.gamma)


def policy_iteration(
    loss: Loss, metrics: Sequence[Metric] = (), gamma: float = 0.95, sweeps: int | None = None
) -> PolicyIteration:
    """The task of finding the best policy, in few steps.

    Args:
        loss: of the table and what a step makes of it.
        metrics: those of `d2lcli.tasks.returns`.
        gamma: the discount, from 0 to 1.
        sweeps: evaluate each policy by so many sweeps instead of a linear solve (modified policy iteration, Puterman
            and Shin, 1978); with 1 it is value iteration.

    Raises:
        ValueError: gamma outside [0, 1], sweeps below 1, or two metrics of one name.
    """
    return PolicyIteration(loss, metrics, gamma, sweeps)

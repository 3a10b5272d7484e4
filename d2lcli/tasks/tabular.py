"""What the tasks on tables of values share: they change the table themselves, and are judged by exact solutions.

Legend: S states, A actions, n examples.
"""

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from d2lcli.errors import DataError
from d2lcli.nn.bellman import action_values, greedy_policy, optimal_values, policy_values, success_probabilities
from d2lcli.tasks.metrics import Metric
from d2lcli.tasks.supervised import Batch, Loss


def table_of(model: nn.Module) -> Tensor:
    """The table of a model: V (S,) or Q (S, A)."""
    inner: Any = getattr(model, "_orig_mod", model)  # where it is compiled
    values: Tensor = inner.values.data
    return values


def require_distance(loss: Loss) -> None:
    """Refuse losses that are no distance of two tables.

    Raises:
        ValueError: it is one of classes or of a density.
    """
    ones = torch.ones(1, 2)
    try:
        same = float(loss(ones, ones))
    except (ValueError, RuntimeError, TypeError):
        same = 1.0
    if same != 0:
        raise ValueError("loss must be a distance of numbers, such as mse, half_mse or huber")


class Tabular:
    """A task on a table of values, V or Q.

    An evaluation is of the greedy policy of the table, in an environment whose outcomes are known: nothing is played.

    Args:
        loss: of a table and the right side of its Bellman equation.
        metrics: those of `d2lcli.tasks.returns`.
        gamma: the discount.

    Attributes:
        environment: what the agent acts in; known after `bind`.
        noted: numbers for the log.

    Raises:
        ValueError: gamma outside [0, 1], a loss that is no distance, two metrics of one name, or one of predictions.
    """

    environment: Any

    def __init__(self, loss: Loss, metrics: Sequence[Metric], gamma: float) -> None:
        if not 0 <= gamma <= 1:
            raise ValueError(f"gamma={gamma!r} must be from 0 to 1")
        require_distance(loss)
        self.loss, self.gamma = loss, gamma
        self.metrics: dict[str, Metric] = {}
        for metric in metrics:
            if metric.name in self.metrics or metric.name == "loss":
                raise ValueError(f"the name '{metric.name}' is taken: each metric of a task needs a name of its own")
            if not hasattr(metric, "tabular"):
                raise ValueError(f"metric '{metric.name}' is for predictions, not for policies")
            self.metrics[metric.name] = metric
        self.noted: dict[str, float | Tensor] = {}

    @property
    def monitor(self) -> str:
        """The value that decides which checkpoint is best: the first metric, else the loss."""
        return next(iter(self.metrics), "loss")

    @property
    def mode(self) -> Literal["max", "min"]:
        """Whether the best value of `monitor` is the largest or the smallest."""
        metric = self.metrics.get(self.monitor)
        return "max" if metric is not None and metric.higher_is_better else "min"

    def check(self, shape: Sequence[int], num_outputs: int, targets: Tensor) -> None:
        """Refuse a split without examples.

        Raises:
            DataError: it is one.
        """
        if not len(targets):
            raise DataError("there are no examples")

    def prepare(self, targets: Tensor, num_outputs: int, device: torch.device) -> None:
        """Nothing to take from the targets."""

    def bind(self, dataset: Any, device: torch.device) -> None:
        """Take the environment, and solve it.

        Raises:
            ValueError: the data set has none.
        """
        if dataset.environment is None:
            raise ValueError(f"data '{dataset.name}' is no environment to act in; use data=frozen_lake")
        self.environment = dataset.environment.to(device)
        if hasattr(self.environment, "probabilities"):
            self.solution = self.solve()

    # The Bellman equation of the task.  Those of optimality are the rule.

    def state_values(self, table: Tensor) -> Tensor:
        """V (S,) of a table."""
        return table if table.dim() == 1 else table.amax(1)

    def right_side(self, table: Tensor) -> Tensor:
        """What the Bellman equation makes of a table, in its own shape."""
        q = action_values(self.environment, self.state_values(table), self.gamma)
        return q if table.dim() == 2 else q.amax(1)

    def solve(self) -> Tensor:
        """The values (S,) that solve it."""
        return optimal_values(self.environment, self.gamma)

    def policy(self, table: Tensor) -> Tensor:
        """The policy (S, A) that is judged: the greedy one of the table."""
        return greedy_policy(table if table.dim() == 2 else action_values(self.environment, table, self.gamma))

    # Evaluation.

    def eval_step(self, model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """The loss of each state (n,), the rows that metrics read (n, columns), and the chance of a start (n,)."""
        states = batch[0].argmax(1)
        table = table_of(model)
        losses = self.loss(table, self.right_side(table), reduction="none")
        losses = losses.masked_fill(self.environment.final, 0.0)
        return losses[states], self.rows(table)[states], self.environment.start[states]

    def rows(self, table: Tensor) -> Tensor:
        """What is known of each state, see `d2lcli.tasks.returns`: (S, columns)."""
        environment, policy = self.environment, self.policy(table)
        solved = self.solution if table.dim() == 1 else action_values(environment, self.solution, self.gamma)
        distances = [(table - other).abs() for other in (self.right_side(table), solved)]
        residual, error = (each if each.dim() == 1 else each.amax(1) for each in distances)
        earned = policy_values(environment, policy, self.gamma)
        success = success_probabilities(environment, policy, environment.goal, environment.max_steps)
        # Of a state in which an episode has ended nothing is ever learnt, and nothing ever asked.
        wrong = torch.stack([residual, error], 1).masked_fill(environment.final[:, None], 0.0)
        return torch.cat([torch.stack([earned, self.solution, success], 1), wrong], 1)

    def update(self, metric: Metric, outputs: Tensor, targets: Tensor) -> None:
        """Show a metric what `eval_step` gave."""
        metric.update(outputs, targets)


class Sweeping(Tabular):
    """A task whose update is a sweep over all states at once: table <- (1 - rate) table + rate right side."""

    def advance(self, model: nn.Module, batch: Batch, rate: float) -> Tensor:
        """Make one sweep.

        Args:
            model: with a table.
            batch: all states, whichever their order.
            rate: 1 takes the right side as it is.

        Returns:
            The loss before the sweep, a scalar.
        """
        table = table_of(model)
        new = self.target(table)
        final = self.environment.final if table.dim() == 1 else self.environment.final[:, None]
        loss = self.loss(table, new, reduction="none").masked_fill(self.environment.final, 0.0).mean()
        self.noted = {"largest_change": (new - table).masked_fill(final, 0.0).abs().max() * rate}
        table.lerp_(new, rate)
        return loss

    def target(self, table: Tensor) -> Tensor:
        """What a sweep makes of a table, in its own shape."""
        return self.right_side(table)

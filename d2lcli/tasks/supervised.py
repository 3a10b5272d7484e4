"""What the supervised tasks share: a loss of a model's outputs, and metrics by name."""

import math
from collections.abc import Callable, Sequence
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor, nn

from d2lcli.errors import DataError
from d2lcli.tasks.metrics import Metric

Loss: TypeAlias = Callable[..., Tensor]
Batch: TypeAlias = tuple[Any, ...]  # inputs, targets, and what each example counts, where that is not 1


def call(model: nn.Module, inputs: Any) -> Any:
    """The outputs of a model, which takes the parts of a tuple one by one."""
    return model(*inputs) if isinstance(inputs, tuple) else model(inputs)


class Supervised:
    """A batch is (inputs, targets), the inputs one tensor or a tuple of those that the model takes.

    A model in training mode may return a tuple: its outputs, then those of auxiliary heads that learn the same targets
    (Szegedy et al., 2015).  In an evaluation it returns its outputs alone.

    Args:
        loss: outputs, targets -> a scalar mean, or with reduction="none" one value for each example.
        metrics: what an evaluation measures besides the loss.
        train_loss: the loss to train on, where it is not the one that is evaluated.
        auxiliary_weight: what the loss of each auxiliary head counts in training.

    Raises:
        ValueError: two metrics of one name, or one named "loss"; a weight below 0.
    """

    def __init__(
        self,
        loss: Loss,
        metrics: Sequence[Metric],
        train_loss: Loss | None = None,
        auxiliary_weight: float = 0.3,
    ) -> None:
        if not 0 <= auxiliary_weight < math.inf:
            raise ValueError(f"auxiliary_weight={auxiliary_weight!r} must be at least 0 and finite")
        self.loss = loss
        self.training_loss = train_loss or loss
        self.auxiliary_weight = auxiliary_weight
        self.metrics: dict[str, Metric] = {}
        for metric in metrics:
            if metric.name in self.metrics or metric.name == "loss":
                raise ValueError(f"the name '{metric.name}' is taken: each metric of a task needs a name of its own")
            self.metrics[metric.name] = metric

    @property
    def monitor(self) -> str:
        """The value that decides which checkpoint is best: the first metric that is one number, else the loss."""
        return next((name for name, metric in self.metrics.items() if metric.scalar), "loss")

    @property
    def mode(self) -> Literal["max", "min"]:
        """Whether the best value of `monitor` is the largest or the smallest."""
        metric = self.metrics.get(self.monitor)
        return "max" if metric is not None and metric.higher_is_better else "min"

    def train_loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """The mean loss of a batch, a scalar to call backward on; those of auxiliary heads are added, weighted."""
        inputs, targets, *weights = batch
        outputs = call(model, inputs)
        if not isinstance(outputs, tuple):
            return self._mean_loss(outputs, targets, *weights)
        loss, *auxiliary = (self._mean_loss(each, targets, *weights) for each in outputs)
        return loss + self.auxiliary_weight * sum(auxiliary)

    def _mean_loss(self, outputs: Tensor, targets: Tensor, weights: Tensor | None = None) -> Tensor:
        """The mean of w_i l_i over the examples, not over their weights: so the parts of a batch add up."""
        if weights is None:
            return self.training_loss(outputs, targets)
        return (self.training_loss(outputs, targets, reduction="none") * weights).mean()

    def eval_step(self, model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """The loss of each example (n,), the outputs, and the targets."""
        inputs, targets = batch[:2]
        outputs = call(model, inputs)
        return self.loss(outputs, targets, reduction="none"), outputs, targets

    def update(self, metric: Metric, outputs: Any, targets: Any) -> None:
        """Show a metric what `eval_step` gave."""
        metric.update(outputs, targets)

    def prepare(self, targets: Tensor, num_outputs: int, device: torch.device) -> None:
        """Take from the training targets what the training loss depends on; by default nothing."""

    def check(self, shape: Sequence[int], num_outputs: int, targets: Tensor) -> None:
        """Refuse data that does not fit, before anything is trained on it.

        Args:
            shape: of one example's inputs.
            num_outputs: of the model.
            targets: of a whole split.

        Raises:
            DataError: the data is at fault.
            ValueError: the task's options are.
        """
        if not len(targets):
            raise DataError("there are no examples")
        if 0 in shape:
            raise DataError(f"an example of shape {tuple(shape)} holds no numbers")
        for metric in self.metrics.values():
            metric.bind(num_outputs)

"""Classification: predict one class of several."""

import inspect
import math
from collections.abc import Sequence
from functools import partial
from typing import Literal

import torch
from torch import Tensor

from d2lcli.errors import DataError
from d2lcli.tasks.metrics import Metric
from d2lcli.tasks.supervised import Loss, Supervised


class Classification(Supervised):
    """Outputs are logits (n, C), targets labels (n,) in [0, C)."""

    class_weights: Literal["balanced"] | Sequence[float] | None = None

    def check(self, shape: Sequence[int], num_outputs: int, targets: Tensor) -> None:
        """See `Supervised.check`; targets must be integer labels from 0 to num_outputs - 1."""
        super().check(shape, num_outputs, targets)
        if targets.is_floating_point() or targets.is_complex():
            raise DataError(f"classification needs integer labels, not {targets.dtype}")
        flat = targets.reshape(len(targets), -1)
        bad = ((flat < 0) | (flat >= num_outputs)).any(1).nonzero()
        if len(bad):
            index = int(bad[0])
            label = next(int(label) for label in flat[index] if not 0 <= label < num_outputs)
            classes = f"{num_outputs} classes, 0 to {num_outputs - 1}"
            raise DataError(f"the label of example {index} is {label}, and there are {classes}")

    def prepare(self, targets: Tensor, num_outputs: int, device: torch.device) -> None:
        """Bring the class weights to the device; "balanced" ones are n / (C n_c), with n_c examples of class c."""
        if self.class_weights is None:
            return
        if isinstance(self.class_weights, str):
            counts = torch.bincount(targets.flatten(), minlength=num_outputs)
            if not counts.all():
                missing = int((counts == 0).nonzero()[0])
                raise ValueError(
                    f"class_weights: class {missing} has no training example, so it has no balanced weight"
                )
            weights = targets.numel() / (num_outputs * counts.double())
        else:
            weights = torch.tensor(self.class_weights, dtype=torch.float64)
            if len(weights) != num_outputs:
                raise ValueError(f"class_weights: {len(weights)} numbers for {num_outputs} classes")
        self.training_loss = partial(self.training_loss, class_weights=weights.float().to(device))


def classification(
    loss: Loss,
    metrics: Sequence[Metric] = (),
    label_smoothing: float = 0.0,
    auxiliary_weight: float = 0.3,
    class_weights: Literal["balanced"] | Sequence[float] | None = None,
) -> Classification:
    """The task of predicting a class.

    Args:
        loss: such as `d2lcli.tasks.losses.cross_entropy`.
        metrics: such as `d2lcli.tasks.metrics.accuracy()`.
        label_smoothing: in [0, 1]; for training only, an evaluation measures the loss of the true labels.
        auxiliary_weight: what the loss of each auxiliary head of a model counts in training; at least 0.
        class_weights: what an example of each class counts in training, at least 0: numbers, or "balanced", which lets
            all classes count the same whatever their frequencies.  An evaluation counts examples.

    Raises:
        ValueError: two metrics of one name, a weight below 0, smoothing out of range, or what the loss does not know.
    """
    if not 0 <= label_smoothing <= 1:
        raise ValueError(f"label_smoothing={label_smoothing!r} must be from 0 to 1")
    known = inspect.signature(loss).parameters
    for key, value in (("label_smoothing", label_smoothing), ("class_weights", class_weights)):
        if value and key not in known:
            raise ValueError(f"{key}={value!r} needs a loss that knows it, such as cross_entropy")
    if class_weights is not None and not isinstance(class_weights, str):
        for weight in class_weights:
            if not 0 <= weight < math.inf:
                raise ValueError(f"class_weights: {weight!r} must be at least 0 and finite")
    train_loss = partial(loss, label_smoothing=label_smoothing) if label_smoothing else None
    task = Classification(loss, metrics, train_loss, auxiliary_weight)
    task.class_weights = class_weights
    return task

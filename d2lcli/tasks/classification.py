"""Classification: predict one class of several."""

import inspect
from collections.abc import Sequence
from functools import partial

from torch import Tensor

from d2lcli.errors import DataError
from d2lcli.tasks.metrics import Metric
from d2lcli.tasks.supervised import Loss, Supervised


class Classification(Supervised):
    """Outputs are logits (n, C), targets labels (n,) in [0, C)."""

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


def classification(
    loss: Loss,
    metrics: Sequence[Metric] = (),
    label_smoothing: float = 0.0,
    auxiliary_weight: float = 0.3,
) -> Classification:
    """The task of predicting a class.

    Args:
        loss: such as `d2lcli.tasks.losses.cross_entropy`.
        metrics: such as `d2lcli.tasks.metrics.accuracy()`.
        label_smoothing: in [0, 1]; for training only, an evaluation measures the loss of the true labels.
        auxiliary_weight: what the loss of each auxiliary head of a model counts in training; at least 0.

    Raises:
        ValueError: two metrics of one name, a weight below 0, smoothing out of range or that the loss does not know.
    """
    if not 0 <= label_smoothing <= 1:
        raise ValueError(f"label_smoothing={label_smoothing!r} must be from 0 to 1")
    if not label_smoothing:
        return Classification(loss, metrics, auxiliary_weight=auxiliary_weight)
    if "label_smoothing" not in inspect.signature(loss).parameters:
        raise ValueError(f"label_smoothing={label_smoothing!r} needs a loss that knows it, such as cross_entropy")
    return Classification(loss, metrics, partial(loss, label_smoothing=label_smoothing), auxiliary_weight)

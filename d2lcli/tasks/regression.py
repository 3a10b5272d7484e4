"""Regression: predict one or several numbers for each example."""

from collections.abc import Sequence

import torch
from torch import Tensor

from d2lcli.errors import DataError
from d2lcli.tasks.metrics import Metric
from d2lcli.tasks.supervised import Loss, Supervised


class Regression(Supervised):
    """Outputs (n, d), targets (n, d) of floats; (n,) stands for (n, 1)."""

    def check(self, shape: Sequence[int], num_outputs: int, targets: Tensor) -> None:
        """See `Supervised.check`; targets must be finite numbers, `num_outputs` for each example."""
        super().check(shape, num_outputs, targets)
        if not targets.is_floating_point():
            raise DataError(f"regression needs floating-point targets, not {targets.dtype}")
        width = targets[0].numel()
        if width != num_outputs:
            raise DataError(f"each example has {width} targets, and the model {num_outputs} outputs")
        bad = (~torch.isfinite(targets)).reshape(len(targets), -1).any(1).nonzero()
        if len(bad):
            index = int(bad[0])
            values = targets[index].flatten()
            value = values[~torch.isfinite(values)][0].item()
            raise DataError(f"the target of example {index} is {value}; targets must be finite numbers")


def regression(loss: Loss, metrics: Sequence[Metric] = ()) -> Regression:
    """The task of predicting numbers.

    Args:
        loss: such as `d2lcli.tasks.losses.mse`.
        metrics: such as `d2lcli.tasks.metrics.rmse()`.

    Raises:
        ValueError: two metrics of one name.
    """
    return Regression(loss, metrics)

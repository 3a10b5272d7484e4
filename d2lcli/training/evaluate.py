"""Evaluation of a model on a split: the mean loss, and the task's metrics, with confidence intervals."""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from math import sqrt
from typing import Any

import torch
from torch import Tensor, nn

from d2lcli.data.loader import Loader
from d2lcli.parallel.single import Single

Z95 = 1.959963984540054  # two-sided 95 % quantile of the normal distribution


class Interrupted(Exception):
    """An evaluation was given up because of a stop signal; nothing of it counts."""


@dataclass(frozen=True)
class Evaluation:
    """The outcome.

    Attributes:
        values: loss and metrics by name.
        intervals: 95 % confidence intervals by name, where there is one.
        examples: how many examples were seen.
    """

    values: dict[str, Any]
    intervals: dict[str, tuple[float, float]]
    examples: int


def evaluate_model(
    model: nn.Module,
    task: Any,
    loader: Loader,
    strategy: Single,
    *,
    device: torch.device,
    autocast: Callable[[], Any] | None = None,
    stop: Callable[[], bool] | None = None,
) -> Evaluation:
    """Run the model over all batches of a loader without gradients.

    Args:
        model: put into evaluation mode, and back into the mode it was in.
        task: gives per-example losses and the metrics.
        loader: of the split.
        strategy: adds up what several processes saw.
        device: where sums are kept; nothing is copied to the host before the end.
        autocast: makes the mixed-precision context.
        stop: asked between batches whether to give up.

    Raises:
        Interrupted: `stop` said so.
    """
    training = model.training
    model.eval()
    sums = torch.zeros(3, dtype=torch.float64, device=device)  # examples, loss, loss squared
    for metric in task.metrics.values():
        metric.reset(device)
    if hasattr(task, "begin_evaluation"):
        task.begin_evaluation()
    try:
        with torch.inference_mode():
            for batch in loader.batches(0):
                if stop is not None and stop():
                    raise Interrupted
                with autocast() if autocast else nullcontext():
                    losses, outputs, targets = task.eval_step(model, batch)
                _add(sums, losses)
                for metric in task.metrics.values():
                    task.update(metric, outputs, targets)
    finally:
        model.train(training)
    return _collect(task, strategy, sums)


def _add(sums: Tensor, losses: Tensor) -> None:
    losses = losses.double()
    sums[0] += losses.numel()
    sums[1] += losses.sum()
    sums[2] += losses.square().sum()


def _collect(task: Any, strategy: Single, sums: Tensor) -> Evaluation:
    strategy.sum(sums)
    examples, total, squares = sums.tolist()
    mean = total / examples
    values: dict[str, Any] = {"loss": mean}
    intervals = {}
    if examples > 1:  # mean +- z s / sqrt(n), with s the sample standard deviation
        half = Z95 * sqrt(max(0.0, squares / examples - mean * mean) / (examples - 1))
        intervals["loss"] = (mean - half, mean + half)
    for name, metric in task.metrics.items():
        strategy.sum(metric.state)
        values[name] = metric.compute()
        if interval := metric.interval():
            intervals[name] = interval
    return Evaluation(values, intervals, int(examples))

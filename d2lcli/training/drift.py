"""Whether a model still does as well on a stream of data as it did in validation (d2l 4.7)."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from d2lcli.parallel.single import single
from d2lcli.tasks.shift import PageHinkley
from d2lcli.training.data import make_loader
from d2lcli.training.judge import Rebuilt, rebuild

THRESHOLD, SLACK = 50.0, 0.25  # in standard deviations of the validation losses


def watch(
    path: Path, own: dict[str, Any], other: dict[str, Any], *, checkpoint: str = "best", split: str = "val"
) -> dict[str, Any]:
    """Raise an alarm wherever the loss of an example-by-example stream has risen.

    Page and Hinkley's test reads the validation losses of the run first, as what is usual, then those of the stream,
    all in units of the former's standard deviation.

    Args:
        path: the run folder.
        own: the run's config; its validation split is the reference.
        other: a config with the data of the stream, in its stored order.
        checkpoint, split: see `evaluate`; the split is that of the stream.

    Returns:
        mean losses, and the number of each example at which an alarm sounded, from 0.
    """
    known = example_losses(rebuild(path, own, checkpoint), own, "val")
    run = rebuild(path, other, checkpoint)
    losses = example_losses(run, other, split)
    mean, std = known.mean(), known.std().nan_to_num(0.0).clamp(min=1e-12)
    alarm = PageHinkley(threshold=THRESHOLD, slack=SLACK)
    for value in ((known - mean) / std).tolist():
        alarm.update(value)
    places = [place for place, value in enumerate(((losses - mean) / std).tolist()) if alarm.update(value)]
    return {
        "run": str(path),
        "checkpoint": str(run.checkpoint),
        "split": split,
        "examples": len(losses),
        "loss": float(losses.mean()),
        "reference": float(mean),
        "alarms": places,
    }


def example_losses(run: Rebuilt, values: dict[str, Any], split: str) -> Tensor:
    """The loss of each example of a split in its stored order, float64 (n,)."""
    loader = make_loader(values, run.dataset, split, run.device, single())
    run.model.eval()
    with torch.inference_mode():
        parts = [run.task.eval_step(run.model, batch)[0].double() for batch in loader.batches(0)]
    return torch.cat(parts).cpu()

"""Evaluates a finished run from its folder alone."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from d2lcli.data.dataset import Dataset
from d2lcli.parallel.single import single
from d2lcli.training.build import bind_task, build_task, check_task, model_for
from d2lcli.training.checkpoint import Checkpoints, read_snapshot
from d2lcli.training.data import build_data, make_loader
from d2lcli.training.device import pick_device, pick_precision, prepare
from d2lcli.training.evaluate import Evaluation, evaluate_model
from d2lcli.training.precision import autocast
from d2lcli.training.state import load_weights
from d2lcli.training.tokens import of_run


@dataclass(frozen=True)
class Rebuilt:
    """A run's model with the weights of a checkpoint, and what it is measured on.

    Attributes:
        checkpoint: the folder that the weights came from.
        step: updates that they had had.
        autocast: makes the mixed-precision context, or None.
    """

    model: nn.Module
    task: Any
    dataset: Dataset
    device: torch.device
    checkpoint: Path
    step: int
    autocast: Callable[[], Any] | None


def rebuild(path: Path, values: dict[str, Any], checkpoint: str = "best") -> Rebuilt:
    """Rebuild a run's model, data and task from its folder, which is only read.

    Args:
        path: the run folder.
        values: the run's config, see `plan.changed_config`; other metrics or another data set may stand in it.
        checkpoint: best, last, a step number, or the path of a checkpoint folder.

    Raises:
        CheckpointError: no run, no such checkpoint, a damaged one, or one of another model.
    """
    chosen = Checkpoints(path / "checkpoints").find(checkpoint)
    snapshot = read_snapshot(chosen, only=("model", "ema"))
    device = pick_device(values["hardware"])
    prepare(values, device)
    dataset = build_data(values, of_run(path))
    model = model_for(values, dataset, device)
    load_weights(model, snapshot.weights, snapshot)
    task = build_task(values)
    check_task(task, values, dataset)
    bind_task(task, dataset, device)
    precision = pick_precision(values["hardware"]["precision"], device, model, task)
    cast = None if precision == "fp32" else autocast(device.type, precision)
    return Rebuilt(model, task, dataset, device, chosen, snapshot.step, cast)


def evaluate(
    path: Path, values: dict[str, Any], *, checkpoint: str = "best", split: str = "val"
) -> tuple[Evaluation, dict[str, Any]]:
    """Rebuild a run's model and data, and evaluate.

    Args:
        path, values, checkpoint: see `rebuild`.
        split: train or val, or test where the data has one.

    Returns:
        The evaluation, and facts for the report: run, checkpoint, step, split, examples.

    Raises:
        CheckpointError: see `rebuild`.
    """
    run = rebuild(path, values, checkpoint)
    found = measure(run, values, split)
    if hasattr(run.task, "examine"):  # what takes too long for every evaluation of a training
        found = replace(found, values=found.values | run.task.examine(run.model))
    facts = {
        "run": str(path),
        "checkpoint": str(run.checkpoint),
        "step": run.step,
        "split": split,
        "examples": found.examples,
    }
    return found, facts


def measure(run: Rebuilt, values: dict[str, Any], split: str, model: nn.Module | None = None) -> Evaluation:
    """Evaluate a rebuilt run, or another model in its place, on a split."""
    loader = make_loader(values, run.dataset, split, run.device, single())
    return evaluate_model(model or run.model, run.task, loader, single(), device=run.device, autocast=run.autocast)

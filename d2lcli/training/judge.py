"""Evaluates a finished run from its folder alone."""

from pathlib import Path
from typing import Any

from d2lcli.parallel.single import single
from d2lcli.training.build import (
    build_data,
    build_model,
    build_task,
    check_task,
    make_loader,
    pick_device,
    pick_precision,
    prepare,
)
from d2lcli.training.checkpoint import Checkpoints, read_snapshot
from d2lcli.training.evaluate import Evaluation, evaluate_model
from d2lcli.training.state import load_weights


def evaluate(
    path: Path, values: dict[str, Any], *, checkpoint: str = "best", split: str = "val"
) -> tuple[Evaluation, dict[str, Any]]:
    """Rebuild a run's model and data, and evaluate.

    Args:
        path: the run folder; it is only read.
        values: the run's config, see `plan.changed_config`; other metrics or another data set may stand in it.
        checkpoint: best, last, a step number, or the path of a checkpoint folder.
        split: train or val, or test where the data has one.

    Returns:
        The evaluation, and facts for the report: run, checkpoint, step, split, examples.

    Raises:
        CheckpointError: no run, no such checkpoint, a damaged one, or one of another model.
    """
    chosen = Checkpoints(path / "checkpoints").find(checkpoint)
    snapshot = read_snapshot(chosen, only=("model", "ema"))
    device = pick_device(values["hardware"])
    prepare(values, device)
    dataset = build_data(values)
    model = build_model(values, dataset, device)
    load_weights(model, snapshot.weights, snapshot)
    task = build_task(values)
    check_task(task, values, dataset)
    loader = make_loader(values, dataset, split, device, single())
    precision = pick_precision(values["hardware"]["precision"], device, model)
    cast = None
    if precision != "fp32":
        from d2lcli.training.precision import autocast

        cast = autocast(device.type, precision)
    found = evaluate_model(model, task, loader, single(), device=device, autocast=cast)
    facts = {
        "run": str(path),
        "checkpoint": str(chosen),
        "step": snapshot.step,
        "split": split,
        "examples": found.examples,
    }
    return found, facts

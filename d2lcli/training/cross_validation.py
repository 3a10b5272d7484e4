"""K-fold cross-validation: every fold is a run of its own in RUN/fold-0 .. RUN/fold-(k-1), and RUN holds the summary.

A fold that is finished is never trained again, one that was stopped goes on where it stopped.
"""

import sys
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from d2lcli.config import dump_yaml
from d2lcli.training import session, signals
from d2lcli.training.build import build
from d2lcli.training.data import make_loader
from d2lcli.training.files import replace_file, sweep, to_json
from d2lcli.training.plan import Plan, already_finished, fold_plans, length
from d2lcli.training.progress import Progress, Quiet, numbers
from d2lcli.training.runfolder import describe


def train(plan: Plan, *, quiet: bool = False) -> dict[str, Any]:
    """Train the folds one after the other.

    Args:
        plan: of the whole; `fold_plans` tells the runs.
        quiet: no progress on stderr.

    Returns:
        The content of RUN/result.json: `metrics` are the means over the folds, `std` the standard deviations.

    Raises:
        Stopped: by a signal, after saving.
        D2LError: anything that the user can mend.
    """
    folder, folds = plan.folder, fold_plans(plan)
    say = (Quiet(0) if quiet else Progress(0)).say
    try:
        _open(plan, folds[0])
        for fold in folds:
            result = already_finished(fold) or session.train(fold, quiet=quiet)
            say(f"{fold.folder.path.name} of {len(folds)}: {numbers(result['metrics'])}")
        result = _write(plan, folds, "finished")
        spread = "  ".join(
            f"{name} {mean:.4g} +- {result['std'][name]:.2g}" for name, mean in result["metrics"].items()
        )
        say(f"mean and standard deviation of {len(folds)} folds: {spread}")
        return result
    except signals.Stopped:
        _write(plan, folds, "stopped")
        say(f"go on with all folds: d2l train --resume {folder.path}")
        raise
    except Exception as error:
        if folder.held:
            session.record_failure(plan, error)
        raise
    finally:
        folder.release()


def _open(plan: Plan, fold: Plan) -> None:
    """Take the folder; begin it where it is new and its first fold, which trains on the fewest rows, can be built."""
    folder = plan.folder
    if plan.resume:
        folder.lock()
        folder.sign()
        sweep(folder.path)
        if plan.overrides or plan.config_file:
            replace_file(folder.path / "config.yaml", dump_yaml(plan.values).encode())
        return
    run = build(fold.values)
    make_loader(fold.values, run.dataset, "val", run.device, run.strategy)
    folder.create(dump_yaml(plan.values), describe(sys.argv, plan.overrides, plan.config_file, plan.values))


def _write(plan: Plan, folds: Sequence[Plan], status: str) -> dict[str, Any]:
    """RUN/result.json, from the results of the folds as they stand in their folders."""
    result = summarise(plan, [fold.folder.read_result() for fold in folds], status)
    replace_file(plan.folder.path / "result.json", to_json(result))
    return result


def summarise(plan: Plan, results: Sequence[dict[str, Any]], status: str) -> dict[str, Any]:
    """The content of RUN/result.json.

    Args:
        plan: of the whole.
        results: of each fold, empty for one that was not begun.
        status: where it is "finished" all folds are there, and means are taken.
    """
    done = results if status == "finished" else []
    metrics = _columns([result["metrics"] for result in done])
    best = _columns([result["best"] for result in done])
    return {
        "run": str(plan.folder.path),
        "status": status,
        "metrics": {name: float(values.mean()) for name, values in metrics.items()},
        "std": {name: float(values.std()) for name, values in metrics.items()},  # sqrt of sum (x - mean)^2 / (k - 1)
        "best": {name: float(values.mean()) for name, values in best.items() if name != "step"},
        "cv": len(results),
        "folds": [result for result in results if result],
        "length": length(plan.values),
        "steps": sum(result.get("steps", 0) for result in results),
        "seconds": round(sum(result.get("seconds", 0.0) for result in results), 3),
    }


def _columns(rows: Sequence[dict[str, Any]]) -> dict[str, Tensor]:
    """name -> its values over the folds (k,); what is no number, such as a confusion matrix, stays with its fold."""
    columns = {name: [row[name] for row in rows] for name in (rows[0] if rows else ())}
    return {
        name: torch.tensor([float(value) for value in values], dtype=torch.float64)  # 'nan' and 'inf' are texts in JSON
        for name, values in columns.items()
        if all(isinstance(value, int | float | str) for value in values)
    }

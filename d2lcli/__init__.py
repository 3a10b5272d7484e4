"""d2l: train, evaluate, tune and measure every model of Dive into Deep Learning.

    import d2lcli
    result = d2lcli.train(["model=lenet", "optim=sgd"])
    result["run"], result["metrics"]["accuracy"]

Importing this package imports nothing else; the functions do.  Not even `typing`: Ctrl-C in the first milliseconds
would meet its import before `d2l` has taken over the signals.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from typing import Any

__version__ = "0.1.0"
__all__ = ["__version__", "config_of", "evaluate", "show", "train"]


def train(
    overrides: Sequence[str] = (),
    *,
    run_dir: str | Path | None = None,
    resume: str | Path | None = None,
    config_file: str | Path | None = None,
    smoke: bool = False,
    allow_drift: bool = False,
    quiet: bool = True,
) -> dict[str, Any]:
    """`d2l train` from Python, in this process.

    Args:
        overrides: KEY=VALUE, as on the command line.
        run_dir: folder of the new run.
        resume: folder of a run to go on with.
        config_file: YAML beneath the overrides.
        smoke: two updates on a few examples.
        allow_drift: resume under a config that changes the trajectory.
        quiet: no progress on stderr.

    Returns:
        The content of the run's result.json: run, status, metrics, best, steps, seconds, ...

    Raises:
        d2lcli.errors.D2LError: anything that the caller can mend; `exit_code` says of which kind.
    """
    from d2lcli.training.plan import already_finished, fold_plans, make_plan

    plan = make_plan(
        list(overrides),
        run_dir=_path(run_dir),
        resume=_path(resume),
        config_file=_path(config_file),
        smoke=smoke,
        allow_drift=allow_drift,
    )
    finished = already_finished(plan)
    if finished is not None:
        return finished
    from d2lcli.training import cross_validation, session

    train_one_or_all = cross_validation.train if fold_plans(plan) else session.train
    return train_one_or_all(plan, quiet=quiet)


def evaluate(
    run: str | Path, overrides: Sequence[str] = (), *, checkpoint: str = "best", split: str = "val"
) -> dict[str, Any]:
    """`d2l evaluate` from Python.

    Args:
        run: the run folder.
        overrides: KEY=VALUE changes to the run's config.
        checkpoint: best, last, a step number or a path.
        split: train or val.

    Returns:
        metrics and 95 % intervals by name, with run, checkpoint, step, split and examples.
    """
    from pathlib import Path

    from d2lcli.training import judge
    from d2lcli.training.plan import changed_config

    found, facts = judge.evaluate(Path(run), changed_config(Path(run), overrides), checkpoint=checkpoint, split=split)
    return facts | {"metrics": found.values, "intervals": found.intervals}


def config_of(overrides: Sequence[str] = (), *, config_file: str | Path | None = None) -> dict[str, Any]:
    """`d2l config` from Python: the composed and checked config, as plain values."""
    from d2lcli.config import compose

    return compose(list(overrides), config_file=_path(config_file)).values


def show(overrides: Sequence[str] = (), *, config_file: str | Path | None = None) -> dict[str, Any]:
    """`d2l show` from Python: layers, shapes, parameters, multiply-adds and memory of a model, without data."""
    values = config_of(overrides, config_file=config_file)
    from d2lcli.training.description import describe

    return describe(values)


def _path(value: str | Path | None) -> Path | None:
    from pathlib import Path

    return None if value is None else Path(value)

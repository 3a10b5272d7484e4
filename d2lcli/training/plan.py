"""Decides what a `train` command is to do: a new run, or an old one to go on with.  Imports no torch."""

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from d2lcli import config as configs
from d2lcli.errors import CheckpointError, ConfigError, clean
from d2lcli.training.manifest import list_steps, read_verified
from d2lcli.training.origin import locate
from d2lcli.training.runfolder import RunFolder, new_path
from d2lcli.training.slurm import join_slurm

# Two updates and an evaluation of a few examples: every stage of a run within seconds.
SMOKE = ("steps=2", "data.limit=8", "data.batch_size=4", "data.eval_batch_size=8", "log_every=1")
SMOKE_LAYERS = 2

ALONE = ("single", "dp")  # strategies of one process

# Keys that change what is logged, kept or how fast it goes, but no weight.
# `patience` only decides where a run ends: the schedule is made for the length without it.
HARMLESS = (
    "log_every",
    "keep",
    "checkpoint_every",
    "patience",
    "data.workers",
    "data.eval_batch_size",
    "strategy.timeout",
    "strategy.max_restarts",
)


@dataclass(frozen=True)
class Rest:
    """Where a run that is made for its whole length pauses, so that another run may have the device.

    Args:
        unit: what is counted, from the beginning of the run.
        amount: after so many of them; seconds are looked at when an epoch ends.
    """

    unit: Literal["epochs", "steps", "seconds"]
    amount: float


@dataclass(frozen=True)
class Plan:
    """What to do.

    Attributes:
        values: the checked config.
        folder: the run folder.
        resume: whether a run stands there already.
        overrides: as the user gave them, for the record.
        rest: how far to train for now; None is to the end.
        allow_drift: whether the run may go on though its course changes, as it does with another number of processes.
    """

    values: dict[str, Any]
    folder: RunFolder
    resume: bool
    overrides: list[str]
    config_file: Path | None = None
    rest: "Rest | None" = None
    allow_drift: bool = False

    @property
    def fresh(self) -> bool:
        """Whether the run begins at its first step, with `weights` if there are any: it has no checkpoint yet."""
        return not (self.resume and list_steps(self.folder.path / "checkpoints"))


def make_plan(
    overrides: Sequence[str],
    *,
    config_file: Path | None = None,
    run_dir: Path | None = None,
    resume: Path | None = None,
    smoke: bool = False,
    allow_drift: bool = False,
) -> Plan:
    """Compose and check everything that can be checked without torch.

    Args:
        overrides: KEY=VALUE.
        config_file: YAML beneath the overrides.
        run_dir: folder of a new run; the default is one below `runs/`.
        resume: folder of a run to go on with.  Where nothing was begun there yet and overrides are given, the run is
            begun there, so that a requeued job can use one command for its first start and every later one.
        smoke: cut everything down to two updates.
        allow_drift: go on though the config changes the trajectory.

    Raises:
        ConfigError: a wrong config, or one that may not be changed on resume.
        CheckpointError: there is nothing to resume, or there are no such weights.
    """
    given = [*SMOKE, *overrides] if smoke else list(overrides)
    if resume is None:
        values = _join(_compose(given, config_file, smoke))
        folder = RunFolder(run_dir or new_path(values["model"]["name"], values["data"]["name"]))
        if is_first():
            folder.check_free()
        return _with_weights(Plan(values, folder, False, given, config_file))
    if run_dir is not None and run_dir.resolve() != resume.resolve():
        raise ConfigError("--run-dir and --resume name different folders", "a resumed run goes on in its own folder")
    folder = RunFolder(resume)
    if not folder.exists:
        if not overrides and config_file is None:
            folder.require()
        values = _join(_compose(given, config_file, smoke))
        return _with_weights(Plan(values, folder, False, given, config_file))
    saved = _join(load_config(folder))
    if not given and config_file is None:
        return _with_weights(Plan(saved, folder, True, [], allow_drift=allow_drift))
    values = configs.amend(saved, given, config_file=config_file).values
    check_drift(saved, values, allow_drift=allow_drift)
    return _with_weights(Plan(values, folder, True, given, config_file, allow_drift=allow_drift))


def _join(values: dict[str, Any]) -> dict[str, Any]:
    """`values`; a task of SLURM with a strategy of several processes becomes one of these."""
    if values["strategy"]["name"] not in ALONE:
        join_slurm()
    return values


def _with_weights(plan: Plan) -> Plan:
    """The plan, once the weights that its run begins with have been found."""
    if plan.fresh and plan.values["weights"] is not None:
        locate(plan.values["weights"])
    return plan


def fold_plans(plan: Plan) -> list[Plan]:
    """The runs of a cross-validation, one for each fold, in folders within the plan's; none for a single run."""
    values = plan.values
    if values["cv"] is None or values["fold"] is not None:
        return []
    folders = [RunFolder(plan.folder.path / f"fold-{fold}") for fold in range(values["cv"])]
    return [
        replace(
            plan,
            values=values | {"fold": fold},
            folder=folder,
            resume=folder.exists,
            overrides=[*plan.overrides, f"fold={fold}"],
        )
        for fold, folder in enumerate(folders)
    ]


def is_first() -> bool:
    """Whether this process is the one that writes."""
    return int(os.environ.get("RANK", 0)) == 0


def _compose(given: Sequence[str], config_file: Path | None, smoke: bool) -> dict[str, Any]:
    """The config of a new run; a smoke run's schedule rises within it, and its model has two layers at the most."""
    config = configs.compose(given, config_file=config_file)
    scheduler, model = config.values["scheduler"], config.values["model"]
    if smoke and scheduler.get("warmup_steps"):
        scheduler["warmup_steps"] = 1
    if smoke and (model.get("num_layers") or 0) > SMOKE_LAYERS and not config.is_set(("model", "num_layers")):
        model["num_layers"] = SMOKE_LAYERS  # not where the user says how many
    return config.values


def load_config(folder: RunFolder) -> dict[str, Any]:
    """The config of a run, checked like any other: it may come from anywhere.

    Raises:
        CheckpointError: there is no run, or its config is damaged.
    """
    folder.require()
    try:
        return configs.from_values(configs.load_yaml(folder.path / "config.yaml")).values
    except ConfigError as error:
        raise CheckpointError(f"{clean(folder.path / 'config.yaml')}: {'; '.join(error.lines[:3])}") from None


def changed_config(run: Path, overrides: Sequence[str]) -> dict[str, Any]:
    """The config of a run with KEY=VALUE changes, for a use of the run that trains nothing.

    Raises:
        CheckpointError: no run, or a damaged config.
        ConfigError: a wrong change; or the run is a cross-validation, whose folds are the runs.
    """
    values = load_config(RunFolder(run))
    if values["cv"] and values["fold"] is None:
        raise ConfigError(
            f"{clean(run)}: holds a cross-validation, whose folds are runs", f"d2l evaluate {clean(run)}/fold-0"
        )
    return configs.amend(values, list(overrides)).values if overrides else values


def check_drift(old: dict[str, Any], new: dict[str, Any], *, allow_drift: bool) -> None:
    """Name what differs; refuse what changes the trajectory.

    Raises:
        ConfigError: such a difference, and `allow_drift` is not given.
    """
    changes = configs.differences(old, new)
    drift = [change for change in changes if not _is_harmless(change[0], new)]
    for key, before, after in changes:
        print(f"config differs: {key}: {clean(before, 60)} -> {clean(after, 60)}", file=sys.stderr)
    if drift and not allow_drift:
        raise ConfigError(
            [
                f"{key}: {clean(before, 60)} -> {clean(after, 60)} would change the course of the run"
                for key, before, after in drift
            ],
            "leave it out, or say --allow-drift, or start a new run",
        )


def _is_harmless(key: str, values: dict[str, Any]) -> bool:
    """A longer run is harmless where the schedule does not depend on the length of the run."""
    if key in ("epochs", "steps"):
        return values["scheduler"].get("max_update", "absent") is not None
    return key in HARMLESS


def devices(values: dict[str, Any]) -> int:
    """How many processes this process has to start: 0 where it is to train by itself."""
    wanted = values["hardware"]["devices"]
    grouped = "RANK" in os.environ and "WORLD_SIZE" in os.environ
    name = values["strategy"]["name"]
    if name in ALONE:
        if wanted > 1:
            raise ConfigError(f"hardware.devices: {wanted} needs a strategy of several processes", "use hardware=ddp")
        if grouped and int(os.environ["WORLD_SIZE"]) > 1:
            raise ConfigError(
                f"strategy={name}, but this is one of {os.environ['WORLD_SIZE']} processes", "use hardware=ddp"
            )
        return 0
    return 0 if grouped else wanted


def length(values: dict[str, Any]) -> str:
    """How long a run is to be, in words: "7 steps", "3 epochs" or "3 epochs, patience 2"."""
    most = f"{values['steps']} steps" if values["steps"] else f"{values['epochs']} epochs"
    return f"{most}, patience {values['patience']}" if values["patience"] else most


def already_finished(plan: Plan) -> dict[str, Any] | None:
    """The result of a run that needs nothing more, else None."""
    if not plan.resume:
        return None
    result = plan.folder.read_result()
    if result.get("status") != "finished" or result.get("length") != length(plan.values):
        return None
    if folds := fold_plans(plan):
        return result if all(already_finished(fold) for fold in folds) else None
    checkpoints = list_steps(plan.folder.path / "checkpoints")
    if not checkpoints:
        raise CheckpointError(f"{clean(plan.folder.path)}: the run is finished, but its checkpoints are gone")
    try:
        read_verified(checkpoints[-1][2])
    except CheckpointError:
        return None  # the resume will name the damage, and train again from the checkpoint before
    return result

"""Where a run stands, and how a run's live objects become a snapshot and come back from one."""

import json
from dataclasses import asdict, dataclass, fields
from functools import partial
from typing import Any

import torch
from safetensors.torch import load, save
from torch import Tensor, nn

from d2lcli.errors import CheckpointError, clean
from d2lcli.parallel.single import Single, local
from d2lcli.training import seeding
from d2lcli.training.build import Run, noise_rank
from d2lcli.training.checkpoint import Snapshot
from d2lcli.training.pieces import write_pieces

ALONE = Single()
NO_LOSSES: dict[str, Any] = {"loss_sum": 0.0, "loss_count": 0}


@dataclass
class Position:
    """Where a run stands.  With the seed it fixes every batch still to come.

    Attributes:
        step: updates done.
        epoch: passes over the training data that are done.
        batch: batches of the current pass that are done.
        evaluated: the step of the last evaluation, -1 before the first.
        seconds: of training and evaluation, pauses not counted.
        train_seconds: of training alone.
        best: the best value of the monitored metric, `best_step` where it was reached, and `best_loss` there.
        waiting: evaluations since then that were no better.
        loss_sum, loss_count: of the logging interval that is not complete.
        last: the values of the last evaluation.
    """

    step: int = 0
    epoch: int = 0
    batch: int = 0
    evaluated: int = -1
    seconds: float = 0.0
    train_seconds: float = 0.0
    best: float | None = None
    best_step: int | None = None
    best_loss: float | None = None
    waiting: int = 0
    loss_sum: float = 0.0
    loss_count: int = 0
    last: dict[str, Any] | None = None

    @property
    def mark(self) -> tuple[int, int, int, int]:
        """What tells two snapshots apart."""
        return self.step, self.epoch, self.batch, self.evaluated


def capture(run: Run, position: Position, log: dict[str, int]) -> Snapshot:
    """Everything that training depends on from here.  All processes must call it; the first one writes it."""
    own = {"random": seeding.capture(run.device), "loss_sum": position.loss_sum, "loss_count": position.loss_count}
    states = run.strategy.gather(json.dumps(own).encode())
    slots, numbers = _optimizer_state(run)
    state: dict[str, Any] = {
        "progress": asdict(position),
        "log": log,
        "ranks": [json.loads(text) for text in states],
        "world_size": run.strategy.world_size,
        "optimizer": numbers,
        "scaler": run.scaler.state() if run.scaler else None,
        "model": run.values["model"]["name"],
    }
    tensors = {"model": dict(run.model.state_dict()), "optimizer": slots}
    if run.ema:
        tensors["ema"] = run.ema.state()
    spread = None
    if run.strategy.splits_checkpoints:
        pieces = {}
        for stem, held in tensors.items():
            pieces[stem], tied = run.strategy.pieces(held)
            state.setdefault("tied", {})[stem] = tied
            tensors[stem] = {name: each for name, each in held.items() if name not in pieces[stem] | tied}
        spread = partial(write_pieces, run.strategy, pieces)
    else:
        tensors = {stem: run.strategy.whole(held) for stem, held in tensors.items()}
    if hasattr(run.task, "state") and (kept := _task_state(run)):
        tensors["task"] = kept
    return Snapshot(state, tensors, spread=spread)


def _task_state(run: Run) -> dict[str, Tensor]:
    """What the task carries from batch to batch, as `rank/name`, from every process."""
    own = save({name: part.contiguous().cpu() for name, part in run.task.state().items()})
    packed = run.strategy.gather(own + b".")  # gather cuts off zeros at the end
    return {f"{rank}/{name}": part for rank, text in enumerate(packed) for name, part in load(text[:-1]).items()}


def _restore_task(run: Run, snapshot: Snapshot) -> None:
    mark = f"{run.strategy.rank}/"
    kept = snapshot.tensors.get("task", {})
    run.task.load_state(
        {name.removeprefix(mark): part for name, part in kept.items() if name.startswith(mark)}, run.device
    )


def restore(run: Run, snapshot: Snapshot) -> Position:
    """Put a snapshot's content into the live objects; random states last, because building draws from them.

    Raises:
        CheckpointError: the snapshot is of another model, optimizer or number of processes.
    """
    state = snapshot.state
    load_weights(run.model, snapshot.tensors.get("model", {}), snapshot, run.strategy)
    load_optimizer(run, snapshot)
    if run.ema:
        if "ema" not in snapshot.tensors:
            raise CheckpointError(f"checkpoint {clean(snapshot.path)}: holds no averaged weights, but `ema` is set")
        run.ema.load({name: run.strategy.take(name, each) for name, each in snapshot.tensors["ema"].items()})
    if run.scaler and state.get("scaler"):
        run.scaler.load(state["scaler"])
    try:
        ranks = state["ranks"]
        own = ranks[run.strategy.rank] if len(ranks) == run.strategy.world_size else None  # --allow-drift
        others = _all_losses(ranks) if run.strategy.rank == 0 else NO_LOSSES
        sums = others if own is None else own
        position = checked_position(state["progress"] | {key: sums[key] for key in NO_LOSSES})
        if min(int(state["log"][name]) for name in ("rows", "events")) < 0:
            raise ValueError("a size in `log` is negative")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        reason = f"{type(error).__name__}: {clean(error, 80)}"
        raise CheckpointError(f"checkpoint {clean(snapshot.path)}: state.json does not make sense: {reason}") from None
    position.batch = min(position.batch, len(run.train))  # fewer batches an epoch, with --allow-drift
    if hasattr(run.task, "load_state"):
        _restore_task(run, snapshot)
    if own is not None:
        seeding.restore(own.get("random"), run.device)
    else:  # not the random numbers of the first step once more
        seeding.seed_everything(run.values["seed"] + position.step, noise_rank(run.strategy))
    return position


def _all_losses(ranks: list[dict[str, Any]]) -> dict[str, Any]:
    """What all processes that wrote a checkpoint had seen since the last row of the log."""
    return {key: sum(each[key] for each in ranks) for key in NO_LOSSES}


def checked_position(progress: dict[str, Any]) -> Position:
    """A position from values that may come from anywhere.

    Raises:
        KeyError, TypeError, ValueError: a value is missing, of another type, or out of range.
    """
    younger = {"best_loss": None}  # checkpoints from before it have none
    position = Position(**{item.name: (younger | progress)[item.name] for item in fields(Position)})
    for name in ("step", "epoch", "batch", "waiting", "loss_count", "evaluated", "best_step"):
        value = getattr(position, name)
        if name == "best_step" and value is None:
            continue
        if type(value) is not int or not -(name == "evaluated") <= value < 2**63:
            raise ValueError(f"{name} is {value!r}")
    for name in ("seconds", "train_seconds", "loss_sum"):
        setattr(position, name, float(getattr(position, name)))
    numbers = (position.best, position.best_loss)
    if not all(isinstance(each, float | int | None) for each in numbers) or not isinstance(position.last, dict | None):
        raise TypeError("best or last is of another type")
    return position


def load_weights(model: nn.Module, tensors: dict[str, Tensor], snapshot: Snapshot, strategy: Single = ALONE) -> None:
    """Copy stored weights into a model.

    Args:
        model: of which `strategy` may have left this process a part.
        tensors: whole ones, by name.
        snapshot: where they are from.
        strategy: of the run.

    Raises:
        CheckpointError: names or shapes differ; the first five are named.
    """
    for name in getattr(model, "remembered", ()):  # training data that the model holds, of any size
        if name in tensors:
            setattr(model, name, torch.empty_like(tensors[name], device=getattr(model, name).device))
    own = model.state_dict()
    wrong = [f"missing '{name}'" for name in own if name not in tensors]
    wrong += [f"unexpected '{clean(name, 60)}'" for name in tensors if name not in own]
    wrong += [
        f"'{name}' has shape {tuple(tensors[name].shape)} instead of {tuple(own[name].shape)}"
        for name in own
        if name in tensors and tensors[name].shape != own[name].shape
    ]
    if wrong:
        more = f" and {len(wrong) - 5} more" if len(wrong) > 5 else ""
        raise CheckpointError(
            f"checkpoint {clean(snapshot.path)}: does not fit this model: {', '.join(wrong[:5])}{more}",
            "the model's options must be those that it was trained with",
        )
    with torch.no_grad():
        for name, tensor in own.items():
            local(tensor).copy_(strategy.take(name, tensors[name]))


def _names(run: Run) -> dict[Tensor, str]:
    named = dict(run.model.named_parameters())
    return dict(zip(run.strategy.parts(list(named.values())), named, strict=True))


def _optimizer_state(run: Run) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The optimizer's tensors as `parameter name/slot`, and its numbers by the same names."""
    names = _names(run)
    tensors: dict[str, Tensor] = {}
    numbers: dict[str, Any] = {}
    for parameter, slots in run.optimizer.state.items():
        for slot, value in slots.items():
            key = f"{names[parameter]}/{slot}"
            if isinstance(value, Tensor):
                tensors[key] = value
            else:
                numbers[key] = value
    return tensors, numbers


def load_optimizer(run: Run, snapshot: Snapshot) -> None:
    """Copy the stored slots into those that the optimizer made at its construction.

    Raises:
        CheckpointError: they are of another optimizer, or of other shapes.
    """
    tensors, numbers = _optimizer_state(run)
    stored, stored_numbers = dict(snapshot.tensors.get("optimizer", {})), snapshot.state["optimizer"]
    stored = {key: run.strategy.take(key, tensor) for key, tensor in stored.items()}
    if set(tensors) != set(stored) or set(numbers) != set(stored_numbers):
        raise CheckpointError(f"checkpoint {clean(snapshot.path)}: was written with another optimizer")
    if wrong := [key for key, tensor in tensors.items() if tensor.shape != stored[key].shape]:
        raise CheckpointError(f"checkpoint {clean(snapshot.path)}: '{clean(wrong[0], 80)}' has another shape")
    with torch.no_grad():
        for key, tensor in tensors.items():
            tensor.copy_(stored[key])
    for parameter, name in _names(run).items():
        slots = run.optimizer.state.get(parameter, {})
        slots.update({key: stored_numbers[f"{name}/{key}"] for key in slots if f"{name}/{key}" in stored_numbers})

"""What is kept of a run whose loss is no longer finite, for whoever looks for the cause."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch import Tensor

from d2lcli.errors import NonFiniteError
from d2lcli.parallel.single import local
from d2lcli.training.build import Run
from d2lcli.training.checkpoint import Snapshot, write_snapshot
from d2lcli.training.state import Position, capture


def folder_for(run_folder: Path, run: Run) -> Path:
    """Where this process keeps its batch; each of several has a folder of its own."""
    several = run.strategy.world_size > 1
    return run_folder / (f"nonfinite-rank{run.strategy.rank}" if several else "nonfinite")


def keep(run_folder: Path, run: Run, at: Position, batch: tuple[Any, ...]) -> None:
    """Write the batch and the state of the run.

    One of several processes writes its batch and its weights only: the others may be anywhere, so nothing can be asked
    of them.
    """
    if not run.strategy.grouped:
        snapshot = capture(run, at, {})
    else:
        state = {"progress": asdict(at), "world_size": run.strategy.world_size}
        held = {name: local(each) for name, each in run.model.state_dict().items()}
        snapshot = Snapshot(state, {"model": held})
    parts = dict(zip(("inputs", "targets", "weights"), batch))
    if isinstance(parts["inputs"], tuple):
        parts |= {f"inputs{number}": each for number, each in enumerate(parts.pop("inputs"))}
    snapshot.tensors["batch"] = {name: part.clone() for name, part in parts.items() if isinstance(part, Tensor)}
    write_snapshot(folder_for(run_folder, run), snapshot)


def error(run_folder: Path, run: Run, step: int, what: str, rate: float, ending: str = "") -> NonFiniteError:
    """The error that ends such a run.

    Args:
        step: updates done.
        what: "the loss is nan".
        rate: the learning rate.
        ending: what is safe.
    """
    kept = folder_for(run_folder, run)
    return NonFiniteError(
        f"step {step}: {what} (learning rate {rate:g}); stopped{ending or '; the last checkpoint is intact'}",
        "try a smaller optim.lr, or clip_norm=1"
        + (f"; the batch and the state are in {kept}" if kept.is_dir() else ""),
    )

"""Small runs for the tests of the engine, and what must be equal, byte for byte, between two of them."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file
from torch import Tensor

import d2lcli
from d2lcli.training import signals
from d2lcli.training.loop import Trainer

ROOT = Path(__file__).parent.parent
TIMES = ("seconds", "train_seconds", "examples_per_second", "run", "machine")

# 40 examples in batches of 8: epochs of 5 updates.
SMALL = (
    "data.limit=40",
    "data.batch_size=8",
    "epochs=3",
    "log_every=3",
    "hardware=cpu",
    "hardware.threads=1",
    "optim=sgd",
)
LINEAR = ("model=linear_regression", *SMALL)
MLP = ("model=mlp", "model.hidden=[8]", *SMALL)


def train(folder: Path, *overrides: str, **options: Any) -> dict[str, Any]:
    """A new run in `folder`, in this process."""
    return d2lcli.train(overrides, run_dir=folder, **options)


def resume(folder: Path, *overrides: str, **options: Any) -> dict[str, Any]:
    """Go on with the run in `folder`, in this process."""
    return d2lcli.train(overrides, resume=folder, **options)


def rows(folder: Path, split: str = "") -> list[dict[str, Any]]:
    """The rows of a run's log, without times."""
    found = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [without_times(row) for row in found if split in ("", row["split"])]


def without_times(value: Any) -> Any:
    """`value` without what differs from run to run: times, and the folder's name."""
    if isinstance(value, dict):
        return {key: without_times(item) for key, item in value.items() if key not in TIMES}
    return [without_times(item) for item in value] if isinstance(value, list) else value


def newest(folder: Path) -> Path:
    """The newest checkpoint directory of a run, by its name."""
    return max(path for path in (folder / "checkpoints").iterdir() if not path.is_symlink())


def outcome(folder: Path) -> dict[str, Any]:
    """All that two equal runs have in common: tensors as bytes, state, log and result without times."""
    checkpoint = newest(folder)
    found: dict[str, Any] = {path.name: path.read_bytes() for path in checkpoint.glob("*.safetensors")}
    found["state.json"] = without_times(json.loads((checkpoint / "state.json").read_text()))
    del found["state.json"]["log"]["rows"]  # a size in bytes: the times in it have more digits or fewer
    found["rows"] = rows(folder)
    found["result.json"] = without_times(json.loads((folder / "result.json").read_text()))
    links = folder / "checkpoints"
    return found | {"name": checkpoint.name, "best": os.readlink(links / "best"), "last": os.readlink(links / "last")}


def assert_equal(folder: Path, expected: dict[str, Any]) -> None:
    """A run ended as the other did, and names what differs where it did not."""
    found = outcome(folder)
    differing = sorted(name for name in {*found, *expected} if found.get(name) != expected.get(name))
    if differing:
        shown = {name: (found.get(name), expected.get(name)) for name in differing if not name.endswith(".safetensors")}
        pytest.fail(f"these differ: {differing}; {shown}")


def weights(folder: Path, file: str = "model") -> dict[str, Tensor]:
    return load_file(newest(folder) / f"{file}.safetensors")


def losses(folder: Path) -> list[float]:
    return [row["values"]["loss"] for row in rows(folder)]


def everything(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Every file below a folder: modification time and content."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    return {str(path.relative_to(folder)): (path.stat().st_mtime_ns, path.read_bytes()) for path in files}


def stop_at(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """Let SIGTERM arrive at the end of update number `step`, once."""
    count: Callable[[Trainer], int] = Trainer._wishes

    def interrupted(self: Trainer) -> int:
        if self.at.step == step:
            monkeypatch.setattr(Trainer, "_wishes", count)
            signals.state.requested = signal.SIGTERM
        return count(self)

    monkeypatch.setattr(Trainer, "_wishes", interrupted)


def stop_in_evaluation(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """Let SIGINT arrive while the model of update number `step` is evaluated, once."""
    evaluate = Trainer._evaluate

    def interrupted(self: Trainer) -> Any:
        if self.at.step == step:
            monkeypatch.setattr(Trainer, "_evaluate", evaluate)
            signals.state.requested = signal.SIGINT
        return evaluate(self)

    monkeypatch.setattr(Trainer, "_evaluate", interrupted)


def environment(**more: str) -> dict[str, str]:
    """For processes that are started: this checkout, one thread, no process group, streams as users have them."""
    own = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    return own | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"} | more


def d2l(*words: object, timeout: float = 60, **options: Any) -> subprocess.CompletedProcess[str]:
    """The real command in a process of its own."""
    options.setdefault("env", environment())
    command = [sys.executable, "-m", "d2lcli", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout, **options)

"""A loss or weights that are not finite: stopped before the update, nothing spoilt, the batch kept."""

import json
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from runs import LINEAR, MLP, newest, resume, train
from safetensors.torch import load_file

from d2lcli.data.dataset import Dataset
from d2lcli.errors import NonFiniteError
from d2lcli.registry import DATASETS
from d2lcli.training import build
from d2lcli.training.updates import Updates


@pytest.fixture
def table() -> Dataset:
    """The 40 examples that LINEAR trains and validates on."""
    found: Dataset = DATASETS.build("synthetic_regression").head(40)
    return found


def exploding(table: Dataset) -> Dataset:
    """One feature of one training example is infinite."""
    inputs = table.train.inputs.clone()
    inputs[33, 1] = math.inf
    return replace(table, train=replace(table.train, inputs=inputs))


@pytest.fixture
def _infinite(table: Dataset, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    original = build.build_data
    monkeypatch.setattr(build, "build_data", lambda *given: exploding(original(*given)))
    yield


@pytest.mark.usefixtures("_infinite")
@pytest.mark.parametrize("extra", [(), ("accumulate=2",), ("hardware.precision=bf16",), ("ema=0.9", "clip_norm=1")])
def test_an_infinite_loss_stops_before_the_update(extra: tuple[str, ...], tmp_path: Path) -> None:
    with pytest.raises(NonFiniteError, match=r"step \d: the loss is (nan|inf) \(learning rate 0.1\)") as caught:
        train(tmp_path / "run", *LINEAR, "checkpoint_every=1", *extra)
    assert caught.value.exit_code == 5
    kept = load_file(tmp_path / "run" / "nonfinite" / "batch.safetensors")
    assert torch.isinf(kept["inputs"]).sum() == 1 and kept["targets"].shape == (8, 1)
    state = load_file(tmp_path / "run" / "nonfinite" / "model.safetensors")
    assert all(bool(torch.isfinite(tensor).all()) for tensor in state.values())
    if (tmp_path / "run" / "checkpoints").exists():  # the state is the one before, unchanged
        last = load_file(newest(tmp_path / "run") / "model.safetensors")
        assert all(torch.equal(last[name], state[name]) for name in state)
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert result["status"] == "failed" and "the loss is" in result["error"]


@pytest.mark.usefixtures("_infinite")
def test_a_loss_that_a_device_computes_is_found_at_the_logging_interval(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a GPU, where nobody waits for a loss: the batch is found again by its position."""
    original = Updates.__init__

    def patient(self: Updates, *args: Any, **kwargs: Any) -> None:
        original(self, *args, **kwargs)
        self.on_cpu = False

    monkeypatch.setattr(Updates, "__init__", patient)
    with pytest.raises(NonFiniteError, match=r"step 5: the loss is (nan|inf) in batch \d of epoch 0") as caught:
        train(tmp_path / "run", *LINEAR, "log_every=5")
    assert "nonfinite" in caught.value.hint
    kept = load_file(tmp_path / "run" / "nonfinite" / "batch.safetensors")
    assert torch.isinf(kept["inputs"]).sum() == 1 and kept["targets"].shape == (8, 1)
    assert not list((tmp_path / "run").glob("checkpoints/step-*"))  # weights that are not finite are not saved


def test_losses_that_are_read_late_are_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train(tmp_path / "at-once", *MLP)
    original = Updates.__init__

    def patient(self: Updates, *args: Any, **kwargs: Any) -> None:
        original(self, *args, **kwargs)
        self.on_cpu = False

    monkeypatch.setattr(Updates, "__init__", patient)
    train(tmp_path / "late", *MLP)
    rows = [
        [json.loads(line) | {"seconds": 0} for line in (tmp_path / name / "metrics.jsonl").read_text().splitlines()]
        for name in ("at-once", "late")
    ]
    assert rows[0] == rows[1] and len(rows[0]) > 3


def test_a_rate_that_is_too_large(tmp_path: Path) -> None:
    with pytest.raises(NonFiniteError) as caught:
        train(tmp_path / "run", *MLP, "optim.lr=1e30", "checkpoint_every=1")
    assert "optim.lr" in caught.value.hint and str(tmp_path / "run" / "nonfinite") in caught.value.hint
    for path in (tmp_path / "run" / "checkpoints").glob("step-*/model.safetensors"):
        assert all(bool(torch.isfinite(tensor).all()) for tensor in load_file(path).values())
    with pytest.raises(NonFiniteError):  # nothing has changed since
        resume(tmp_path / "run")


def test_weights_that_are_not_finite_are_never_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An update that breaks the weights although the loss was finite."""
    step = Updates._step

    def broken(self: Updates, measure: bool) -> bool:
        done = step(self, measure)
        if self.at.step == 9:
            self.params[0].data.fill_(math.nan)
        return done

    monkeypatch.setattr(Updates, "_step", broken)
    with pytest.raises(NonFiniteError, match="the weights are not finite"):
        train(tmp_path / "run", *MLP)
    assert newest(tmp_path / "run").name == "step-00000005"

"""Runs that begin with weights from elsewhere: what stays, what is recorded, and that a resume is exact."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from runs import assert_equal, d2l, environment, newest, outcome, resume, rows, stop_at, train, weights
from safetensors.torch import load_file
from torch import Tensor, nn

import d2lcli
from d2lcli.config import compose
from d2lcli.errors import CheckpointError, ConfigError
from d2lcli.registry import MODELS
from d2lcli.training import signals
from d2lcli.training.build import build
from d2lcli.training.loop import Trainer

# 24 examples in batches of 8: epochs of 3 updates.
DATA = ("data.limit=24", "data.batch_size=8", "data.eval_batch_size=24", "log_every=2", "hardware=cpu")
SMALL = (*DATA, "hardware.threads=1", "epochs=2")
EMOJI = ("data=emoji64", "data.image_size=28", *SMALL)
MODEL = ("model=two_norms", "model.in_channels=null", "model.num_classes=null")


class TwoNorms(nn.Module):
    """Two convolutions, each with batch norm, and a linear head."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(in_channels, 4, 5, stride=4), nn.BatchNorm2d(4), nn.ReLU())
        self.body = nn.Sequential(nn.Conv2d(4, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.Dropout(0.2))
        self.fc = nn.Linear(6, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.fc(self.body(self.stem(images)).mean((2, 3)))
        return logits


def two_norms(*, in_channels: int = 3, num_classes: int = 10) -> nn.Module:
    return TwoNorms(in_channels, num_classes)


@pytest.fixture(autouse=True)
def _with_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MODELS, "_entries", dict(MODELS._entries))
    add_model()


def add_model() -> None:
    fields: dict[str, Any] = {"task": "classification", "data": "fashion_mnist_mini", "min_image_size": 14}
    MODELS.register("two_norms", two_norms, "From a test", **fields)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on gray images of ten classes."""
    folder = tmp_path_factory.mktemp("source") / "run"
    before = MODELS._entries
    MODELS._entries = dict(before)
    try:
        add_model()
        train(folder, *MODEL, *SMALL)
    finally:
        MODELS._entries = before
    return folder


def best(folder: Path) -> dict[str, Tensor]:
    return load_file(folder / "checkpoints" / "best" / "model.safetensors")


def test_a_frozen_backbone_is_bit_equal_afterwards(source: Path, tmp_path: Path) -> None:
    train(tmp_path / "run", *MODEL, *SMALL, f"weights={source}", "freeze=backbone", "ema=0.5", "head=new")
    before, after, averaged = best(source), weights(tmp_path / "run"), weights(tmp_path / "run", "ema")
    assert before.keys() == after.keys()
    assert "stem.1.running_mean" in before and "body.1.num_batches_tracked" in before
    for name, tensor in before.items():
        assert torch.equal(after[name], tensor) == (not name.startswith("fc.")), name
        if name in averaged and not name.startswith("fc."):
            assert torch.equal(averaged[name], tensor), name
    slots = weights(tmp_path / "run", "optimizer")
    assert slots == {} or all(name.startswith("fc.") for name in slots)


def test_without_freezing_everything_moves(source: Path, tmp_path: Path) -> None:
    train(tmp_path / "run", *MODEL, *SMALL, f"weights={source}")
    before, after = best(source), weights(tmp_path / "run")
    # A bias before batch norm has no gradient.
    same = [name for name, tensor in before.items() if torch.equal(after[name], tensor)]
    assert set(same) <= {"stem.0.bias", "body.0.bias"}


def test_a_part_is_frozen_by_patterns(source: Path, tmp_path: Path) -> None:
    train(tmp_path / "run", *MODEL, *SMALL, f"weights={source}", "freeze=[stem.*]")
    before, after = best(source), weights(tmp_path / "run")
    assert {name for name in before if torch.equal(after[name], before[name])} == {
        name for name in before if name.startswith("stem.")
    }


RECIPE = (
    *(*MODEL, "freeze=[stem.1.*,body.*]", "head=[5]", "optim=adamw", "optim.head_lr_mult=3", "ema=0.9"),
    *("scheduler=cosine", "data.flip=true", *EMOJI, "epochs=3"),
)


@pytest.mark.parametrize("step", [1, 3, 5])
def test_a_resume_is_exact(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """With other channels, a head of two layers with its own rate, frozen layers, and the weights gone meanwhile."""
    copy = tmp_path / "weights.safetensors"
    shutil.copyfile(source / "checkpoints" / "best" / "model.safetensors", copy)
    train(tmp_path / "whole", *RECIPE, f"weights={copy}")
    stop_at(monkeypatch, step)
    with pytest.raises(signals.Stopped):
        train(tmp_path / "run", *RECIPE, f"weights={copy}")
    signals.state.requested = 0
    copy.unlink()
    resume(tmp_path / "run")
    assert_equal(tmp_path / "run", outcome(tmp_path / "whole"))
    found = weights(tmp_path / "run")
    torch.testing.assert_close(found["body.0.weight"], best(source)["body.0.weight"], rtol=0, atol=0)
    assert found["stem.0.weight"].shape == (4, 3, 5, 5)
    assert found["fc.2.weight"].shape == (8, 5)
    assert d2lcli.evaluate(tmp_path / "run", checkpoint="last")["metrics"]["loss"] == pytest.approx(
        rows(tmp_path / "run", "val")[-1]["values"]["loss"], rel=1e-5
    )


def test_a_run_killed_before_its_first_checkpoint(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It begins with the weights again; with other ones, that took their place meanwhile, it is refused."""
    copy = tmp_path / "weights.safetensors"
    shutil.copyfile(source / "checkpoints" / "best" / "model.safetensors", copy)
    train(tmp_path / "whole", *RECIPE, f"weights={copy}")
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "fit", lambda self: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            train(tmp_path / "run", *RECIPE, f"weights={copy}")
    shutil.copytree(tmp_path / "run", tmp_path / "other")
    resume(tmp_path / "run")
    assert_equal(tmp_path / "run", outcome(tmp_path / "whole"))

    shutil.copyfile(newest(tmp_path / "whole") / "ema.safetensors", copy)
    with pytest.raises(CheckpointError, match="changed since this run began with them"):
        resume(tmp_path / "other")
    copy.unlink()
    with pytest.raises(CheckpointError, match="there is no such file or folder"):
        resume(tmp_path / "other")


def test_what_a_run_says_and_records(source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train(tmp_path / "run", *MODEL, *EMOJI, f"weights={source}", "freeze=backbone", quiet=False)
    file = source / "checkpoints" / "best" / "model.safetensors"
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith(("weights:", "freeze:"))]
    assert lines[0].startswith("weights: 14 of 16 tensors from ")
    assert lines[0].endswith("; new head fc.weight, fc.bias (10 -> 8 classes)")
    assert lines[1:] == [
        "weights: stem.0.weight adapted, 1 -> 3 channels",
        "freeze: 8 tensors stay as they are; 56 of 602 parameters are trained",
    ]
    meta = json.loads((tmp_path / "run" / "meta.json").read_text())["weights"]
    listed = json.loads((file.parent / "manifest.json").read_text())["files"]["model.safetensors"]
    assert meta["path"] == str(file.resolve())
    assert meta["sha256"] == listed["sha256"]
    assert (meta["taken"], meta["new_head"]) == (14, ["fc.weight", "fc.bias"])
    assert meta["adapted"] == {"stem.0.weight": "1 -> 3 channels"}


def test_frozen_as_drawn_is_said(source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({"stem.0.bias": torch.zeros(4)}, tmp_path / "w.pth")
    train(tmp_path / "run", *MODEL, *SMALL, f"weights={tmp_path / 'w.pth'}", "freeze=backbone", quiet=False)
    assert "warning: frozen, but not from the weights, so as drawn: stem.0.weight, stem.1.weight" in (
        capsys.readouterr().err
    )


def test_the_head_moves_faster(tmp_path: Path) -> None:
    """One update of plain sgd is the rate times the gradient."""
    moved = []
    for mult in (1.0, 10.0):
        folder = tmp_path / str(mult)
        words = ("model=mlp", "model.hidden=[8]", *SMALL, "optim=sgd", f"optim.head_lr_mult={mult}")
        train(folder, *words, "steps=1")
        train(tmp_path / f"start-{mult}", *words, "steps=1", "optim.lr=0")
        start, end = weights(tmp_path / f"start-{mult}"), weights(folder)
        moved.append({name: end[name] - start[name] for name in end})
    *body, weight, bias = moved[0]
    for name in body:
        assert torch.equal(moved[0][name], moved[1][name])
    for name in (weight, bias):
        torch.testing.assert_close(moved[1][name], 10 * moved[0][name], rtol=1e-3, atol=1e-6)


def test_the_rates_of_layers_reach_the_optimizer() -> None:
    """A new head on bert_tiny: the rate falls by half from layer to layer, and by the schedule for all alike."""
    words = ("model=bert_tiny", "data=movie_snippets", "task=classification", "optim=adamw", "optim.lr=0.5")
    values = compose([*words, "optim.layer_lr_decay=0.5", "optim.head_lr_mult=3", "hardware=cpu"]).values
    run = build(values)
    found = {name: group.get("lr_mult", 1.0) for group in run.optimizer.param_groups for name in group["names"]}
    layers = {"embedding": 1 / 8, "blocks.0": 1 / 4, "blocks.1": 1 / 2, "pooler": 1 / 2, "head": 3.0}
    assert found == {
        name: factor for name, _ in run.model.named_parameters()
        for layer, factor in layers.items() if name.startswith(f"{layer}.")
    }  # fmt: skip


def test_a_layer_moves_as_fast_as_its_rate_says(tmp_path: Path) -> None:
    """One update of plain sgd is the rate times the gradient."""
    words = ("model=mlp", "model.hidden=[8,8]", *SMALL, "optim=sgd", "steps=1")
    train(tmp_path / "start", *words, "optim.lr=0")
    train(tmp_path / "alike", *words)
    train(tmp_path / "decayed", *words, "optim.layer_lr_decay=0.25")
    start, alike, decayed = (weights(tmp_path / name) for name in ("start", "alike", "decayed"))
    for layer, factor in {"hidden1": 1 / 16, "hidden2": 1 / 4, "output": 1.0}.items():
        for name in (f"{layer}.weight", f"{layer}.bias"):
            moved = alike[name] - start[name]
            torch.testing.assert_close(decayed[name] - start[name], factor * moved, rtol=1e-3, atol=1e-6)


# Mistakes


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["freeze=backbon"], r"freeze: 'backbon' is not one of backbone or a list of texts or null"),
        (["head=new"], "head: 'new' leaves out the head of weights, but there are none"),
        (["head=[0]"], r"head: \[0\]|head: 0 is out of range"),
        (["head=5"], r"head: 5 is not one of new or a list of integers or null"),
        (["optim.head_lr_mult=0"], "optim.head_lr_mult: 0 is out of range"),
        (["optim.layer_lr_decay=0"], "optim.layer_lr_decay: 0 is out of range: want > 0 and <= 1"),
        (["optim.layer_lr_decay=1.5"], "optim.layer_lr_decay: 1.5 is out of range: want > 0 and <= 1"),
        (["freeze=[stm.*]"], r"freeze: 'stm\.\*' matches no tensor.*did you mean 'stem\.\*'"),
        (["freeze=['*']"], "freeze: nothing would be left to train"),
    ],
)
def test_mistakes_in_the_config(tmp_path: Path, words: list[str], reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        train(tmp_path / "run", *MODEL, *SMALL, *words)
    assert not (tmp_path / "run").exists()


def test_a_model_that_is_all_head(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="freeze: nothing would be frozen: all of this model is head"):
        train(tmp_path / "run", "model=softmax_regression", *SMALL, "freeze=backbone")


def test_a_model_without_a_head_has_no_layers_before_it(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"optim\.layer_lr_decay: NadarayaWatson has no linear or convolutional layer"
    ):
        train(tmp_path / "run", "model=nadaraya_watson", "optim.layer_lr_decay=0.5")


def test_a_resume_does_not_change_what_is_frozen(source: Path, tmp_path: Path) -> None:
    words = (*MODEL, *SMALL, f"weights={source}", "freeze=[stem.*]", "optim.head_lr_mult=2")
    train(tmp_path / "run", *words)
    resume(tmp_path / "run", *words)
    for change in (
        "freeze=backbone",
        "head=[4]",
        "optim.head_lr_mult=1",
        "optim.layer_lr_decay=0.5",
        "weights=elsewhere",
    ):
        with pytest.raises(ConfigError, match="would change the course of the run"):
            resume(tmp_path / "run", change)


def test_missing_weights_cost_no_torch(tmp_path: Path) -> None:
    program = (
        "import sys; from d2lcli.training.plan import make_plan\n"
        "try: make_plan(['weights=nowhere'])\n"
        "except Exception as error: print(error.exit_code, error.message, 'torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=environment(), cwd=tmp_path
    )
    assert done.stdout == "4 weights nowhere: there is no such file or folder False\n"


def test_a_hostile_pickle_on_the_command_line(tmp_path: Path) -> None:
    class Marker:
        def __reduce__(self) -> Any:
            return Path.touch, (tmp_path / "marker",)

    torch.save({"state_dict": {"fc.weight": Marker()}}, tmp_path / "w.pth")
    force = environment(TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD="1")
    words = ("train", "model=mlp", "--smoke", f"weights={tmp_path / 'w.pth'}", "--run-dir", tmp_path / "run")
    done = d2l(*words, env=force)
    assert done.returncode == 4
    assert done.stderr.startswith(f"error: weights {tmp_path / 'w.pth'}: refused: not a pickle of tensors alone")
    assert len(done.stderr.splitlines()) == 2
    assert not (tmp_path / "marker").exists() and not (tmp_path / "run").exists()


def test_two_processes_with_a_frozen_part(tmp_path: Path) -> None:
    words = ("model=lenet", "model.batch_norm=true", *DATA, "epochs=1")
    train(tmp_path / "source", *words, "hardware.threads=1")
    done = d2l(
        *("train", *words, f"weights={tmp_path / 'source'}", "freeze=backbone", "optim.head_lr_mult=5"),
        *("hardware=ddp", "hardware.device=cpu", "hardware.precision=fp32", "hardware.devices=2"),
        *("--run-dir", tmp_path / "run"),
        timeout=180,
    )
    assert done.returncode == 0, done.stderr
    before, after = best(tmp_path / "source"), weights(tmp_path / "run")
    moved = [name for name, tensor in before.items() if not torch.equal(after[name], tensor)]
    assert len(moved) == 2 and len(before) > 10

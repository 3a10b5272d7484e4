"""A run that is stopped and resumed ends in the same bytes as one that never stopped."""

import functools
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from runs import MLP, SMALL, assert_equal, everything, newest, outcome, resume, rows, stop_at, stop_in_evaluation, train
from torch import nn

from d2lcli.errors import CheckpointError
from d2lcli.registry import MODELS
from d2lcli.training import build, seeding, signals
from d2lcli.training.precision import LossScaler
from d2lcli.training.updates import Updates


def tiny_norm_net(num_classes: int = 10, dropout: float = 0.2) -> nn.Module:
    """Convolution, batch norm and dropout: running statistics and random masks in a few weights."""
    return nn.Sequential(
        nn.Conv2d(1, 2, 5, stride=4), nn.BatchNorm2d(2), nn.ReLU(), nn.Flatten(), nn.Dropout(dropout),
        nn.Linear(2 * 6 * 6, num_classes),
    )  # fmt: skip


@pytest.fixture(autouse=True)
def _with_norm_net(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MODELS, "_entries", dict(MODELS._entries))
    MODELS.register("tiny_norm_net", tiny_norm_net, "From a test", task="classification", data="fashion_mnist_mini")


@pytest.fixture(autouse=True)
def _lively_scaler(monkeypatch: pytest.MonkeyPatch) -> None:
    """Scales that grow every third update, from one that soon overflows."""
    scaler = functools.partial(LossScaler, scale=2.0**20, growth_interval=3)
    monkeypatch.setattr(build, "LossScaler", scaler)


# Words after SMALL: 5 batches an epoch, 15 updates in all; "everything" has 3 updates an epoch and 9 in all.
SETTINGS = {
    "everything": (  # all that has a state, at once; the log's interval of 2 crosses the ends of epochs
        "model=mlp model.hidden=[8] model.dropout=0.3 data.flip=true data.crop_padding=2 optim=adamw ema=0.9 "
        "scheduler=warmup_cosine scheduler.warmup_steps=3 accumulate=2 clip_norm=0.5 log_every=2"
    ),
    "batch_norm": "model=tiny_norm_net optim=momentum ema=0.8 checkpoint_every=2",
    "fp16": "model=tiny_norm_net optim=adam hardware.precision=fp16 log_every=1 clip_norm=1",
    "bf16": "model=lenet model.activation=relu optim=adamw hardware.precision=bf16 clip_value=0.01",
    "by_epoch": (
        "model=mlp model.hidden=[8] model.dropout=0.5 optim=momentum optim.nesterov=true "
        "scheduler=multistep scheduler.milestones=[1,2] eval_every=2 checkpoint_every=4"
    ),
    "augmented": (
        "model=mlp model.hidden=[8] data=emoji64 data.image_size=16 data.flip=true data.vertical_flip=true "
        "data.crop_padding=1 data.random_resized_crop=[0.3,1] data.color_jitter=[0.4,0.4,0.4,0.1] data.cutout=4 "
        "data.mixup=0.4 data.cutmix=1.0 task.label_smoothing=0.1"
    ),
    "channels_last": "model=tiny_norm_net hardware.channels_last=true",
    "regression": "model=linear_regression steps=13 keep=1 patience=2 min_delta=100",
}

_whole: dict[str, dict[str, Any]] = {}


@pytest.fixture
def whole(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], dict[str, Any]]:
    """The outcome of an uninterrupted run; each is trained once."""

    def outcome_of(setting: str) -> dict[str, Any]:
        if setting not in _whole:
            folder = tmp_path_factory.mktemp("whole") / "run"
            train(folder, *SMALL, *SETTINGS[setting].split())
            _whole[setting] = outcome(folder)
        return _whole[setting]

    return outcome_of


Whole = Callable[[str], dict[str, Any]]


def stopped(folder: Path, setting: str, signum: int = signal.SIGTERM) -> None:
    with pytest.raises(signals.Stopped) as caught:
        train(folder, *SMALL, *SETTINGS[setting].split())
    assert caught.value.exit_code == 128 + signum


# In "everything" 1 is the first update, 2 mid-epoch, 3 the last of an epoch, 4 the first of the next, 9 the last.
STOPS = [
    *(("everything", step) for step in (1, 2, 3, 4, 9)),
    *(("batch_norm", step) for step in (1, 7)),
    *(("fp16", step) for step in (2, 4, 5, 7)),
    ("bf16", 6),
    *(("by_epoch", step) for step in (5, 6, 9)),
    *(("augmented", step) for step in (3, 5, 8)),
    ("channels_last", 3),
    *(("regression", step) for step in (5, 8)),
]


@pytest.mark.parametrize(("setting", "step"), STOPS)
def test_stopped_in_an_update(
    setting: str, step: int, whole: Whole, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop_at(monkeypatch, step)
    stopped(tmp_path / "run", setting)
    assert newest(tmp_path / "run").name == f"step-{step:08d}.stop"
    resume(tmp_path / "run")
    assert_equal(tmp_path / "run", whole(setting))


@pytest.mark.parametrize(
    ("setting", "step"), [("everything", 3), ("everything", 9), ("batch_norm", 10), ("regression", 10)]
)
def test_stopped_in_an_evaluation(
    setting: str, step: int, whole: Whole, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop_in_evaluation(monkeypatch, step)
    stopped(tmp_path / "run", setting, signal.SIGINT)
    assert all(row["step"] < step for row in rows(tmp_path / "run", "val"))
    resume(tmp_path / "run")
    assert_equal(tmp_path / "run", whole(setting))


def test_the_settings_are_what_they_are_meant_to_be(whole: Whole) -> None:
    """The scale of fp16 rises and falls, early stopping stops, and rows cross the ends of epochs."""
    scaler = whole("fp16")["state.json"]["scaler"]
    assert 0 < scaler["scale"] != 2.0**20
    skipped = [row for row in whole("fp16")["rows"] if row["split"] == "train" and "grad_norm" not in row["values"]]
    assert 0 < len(skipped) < 10
    assert (
        whole("regression")["result.json"]["steps"] == 13
        and whole("regression")["state.json"]["progress"]["waiting"] == 2
    )
    assert [row["step"] for row in whole("everything")["rows"] if row["split"] == "train"] == [2, 4, 6, 8]
    assert whole("everything")["name"] == "step-00000009"
    assert set(whole("everything")) > {"ema.safetensors", "model.safetensors", "optimizer.safetensors"}


def test_a_signal_from_outside(whole: Whole, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A real SIGTERM and the real handler; then one more in the resumed run, and a SIGUSR1 that only saves."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # under nohup it is ignored, and a run then leaves it so
    signals.install()
    original = Updates._step
    sent = {2: signal.SIGTERM, 4: signal.SIGUSR1, 7: signal.SIGHUP}

    def with_signal(self: Updates, measure: bool) -> bool:
        if number := sent.pop(self.at.step + 1, None):
            os.kill(os.getpid(), number)
        return original(self, measure)

    monkeypatch.setattr(Updates, "_step", with_signal)
    stopped(tmp_path / "run", "everything")
    with pytest.raises(signals.Stopped) as second:
        resume(tmp_path / "run")
    assert second.value.exit_code == 129
    assert newest(tmp_path / "run").name == "step-00000007.stop"
    assert not sent
    resume(tmp_path / "run")
    assert_equal(tmp_path / "run", whole("everything"))


def test_stopped_after_every_update(whole: Whole, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stop_at(monkeypatch, 1)
    stopped(tmp_path / "run", "everything")
    for step in range(2, 10):
        stop_at(monkeypatch, step)
        with pytest.raises(signals.Stopped):
            resume(tmp_path / "run")
    resume(tmp_path / "run")
    assert_equal(tmp_path / "run", whole("everything"))


@pytest.mark.parametrize("lost", ["torch", "all"])
def test_without_the_random_states_the_end_differs(
    lost: str, whole: Whole, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control: these tests can fail."""
    stop_at(monkeypatch, 4)
    stopped(tmp_path / "run", "everything")
    torch.manual_seed(99)
    other = torch.get_rng_state()
    restore = (lambda states, device: None) if lost == "all" else seeding.restore
    monkeypatch.setattr(seeding, "restore", restore)
    if lost == "torch":
        monkeypatch.setattr(seeding, "_from_hex", lambda text: other)
    resume(tmp_path / "run")
    found, expected = outcome(tmp_path / "run"), whole("everything")
    assert found["model.safetensors"] != expected["model.safetensors"]
    assert found["rows"] != expected["rows"]


def test_the_surroundings_do_not_matter(whole: Whole, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Numbers drawn between the two parts, and another default type's history, change nothing."""
    stop_at(monkeypatch, 5)
    stopped(tmp_path / "run", "everything")
    torch.manual_seed(99)
    torch.rand(7)
    resume(tmp_path / "run")
    assert_equal(tmp_path / "run", whole("everything"))


def test_a_finished_run_is_left_alone(tmp_path: Path) -> None:
    first = train(tmp_path / "run", *MLP)
    before = everything(tmp_path / "run")
    again = resume(tmp_path / "run")
    assert again == first | {"run": again["run"]}
    assert resume(tmp_path / "run", *MLP) == again
    assert everything(tmp_path / "run") == before


def test_a_killed_last_moment_is_finished_without_training(whole: Whole, tmp_path: Path) -> None:
    """All steps done and saved, `result.json` not written yet."""
    train(tmp_path / "run", *SMALL, *SETTINGS["everything"].split())
    (tmp_path / "run" / "result.json").unlink()
    before = everything(tmp_path / "run" / "checkpoints")
    resume(tmp_path / "run")
    assert everything(tmp_path / "run" / "checkpoints") == before
    assert_equal(tmp_path / "run", whole("everything"))


@pytest.mark.parametrize("file", ["model.safetensors", "state.json", "manifest.json"])
def test_the_newest_is_damaged(
    file: str, whole: Whole, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stop_at(monkeypatch, 8)
    stopped(tmp_path / "run", "everything")
    damaged = newest(tmp_path / "run") / file
    damaged.write_bytes(damaged.read_bytes()[:-20])
    resume(tmp_path / "run", quiet=False)
    told = capsys.readouterr().err
    assert f"{damaged.parent}: {file} is damaged" in told and "resumed at step 6" in told
    assert_equal(tmp_path / "run", whole("everything"))


def test_all_are_damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stop_at(monkeypatch, 8)
    stopped(tmp_path / "run", "everything")
    for path in (tmp_path / "run" / "checkpoints").glob("step-*/model.safetensors"):
        path.write_bytes(os.urandom(path.stat().st_size))
    before = everything(tmp_path / "run" / "checkpoints") | {
        "log": (0, (tmp_path / "run" / "metrics.jsonl").read_bytes())
    }
    with pytest.raises(CheckpointError, match="all 3 checkpoints are damaged"):
        resume(tmp_path / "run")
    after = everything(tmp_path / "run" / "checkpoints") | {
        "log": (0, (tmp_path / "run" / "metrics.jsonl").read_bytes())
    }
    assert after == before


def test_nothing_to_resume(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no run in .*missing"):
        resume(tmp_path / "missing")
    assert not (tmp_path / "missing").exists()


def test_one_command_for_the_first_start_and_every_later_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stop_at(monkeypatch, 4)
    with pytest.raises(signals.Stopped):
        resume(tmp_path / "run", *MLP)
    resume(tmp_path / "run", *MLP)
    train(tmp_path / "whole", *MLP)
    assert_equal(tmp_path / "run", outcome(tmp_path / "whole"))


def test_a_torn_row_after_the_checkpoint_is_cut_away(
    whole: Whole, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop_at(monkeypatch, 5)
    stopped(tmp_path / "run", "everything")
    with (tmp_path / "run" / "metrics.jsonl").open("a") as file:
        file.write('{"step": 6, "epoch": 2.0, "split": "train", "values": {"loss": 0.1}}\n{"step": 7, "ep')
    resume(tmp_path / "run")
    assert_equal(tmp_path / "run", whole("everything"))

"""`cv=k`: each fold a run of its own, and a summary that is the arithmetic of their results."""

import fcntl
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
from PIL import Image
from runs import assert_equal, environment, everything, outcome, resume, rows, stop_at, train, without_times

import d2lcli
from d2lcli.__main__ import main
from d2lcli.errors import CheckpointError, ConfigError, D2LError
from d2lcli.training import signals
from d2lcli.training.loop import Trainer

# 30 rows in 3 folds: 20 train, in batches of 5; an epoch has 4 updates.
WORDS = (
    "model=linear_regression", "data.num_train=30", "data.batch_size=5", "epochs=3", "log_every=3", "optim=sgd",
    "hardware=cpu", "hardware.threads=1", "task.metrics=[rmse,mse]", "cv=3",
)  # fmt: skip

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Call:
    """The command in this process: exit code, stdout, stderr."""

    def run(*words: object) -> tuple[int, str, str]:
        code = main([str(word) for word in words])
        seen = capsys.readouterr()
        return code, seen.out, seen.err

    return run


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cross-validation that nothing happened to; only read."""
    folder = tmp_path_factory.mktemp("cv") / "whole"
    train(folder, *WORDS)
    return folder


def result_of(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "result.json").read_text())
    return found


def assert_same(folder: Path, whole: Path) -> None:
    """Every fold ended in the same bytes, and so did the summary."""
    for fold in range(3):
        assert_equal(folder / f"fold-{fold}", outcome(whole / f"fold-{fold}"))
    assert without_times(result_of(folder)) == without_times(result_of(whole))


def test_the_summary_is_the_arithmetic_of_the_folds(whole: Path) -> None:
    result = result_of(whole)
    folds = [result_of(whole / f"fold-{fold}") for fold in range(3)]
    assert (result["status"], result["cv"], result["folds"]) == ("finished", 3, folds)
    assert set(result["metrics"]) == set(result["std"]) == {"loss", "rmse", "mse"}
    for name in ("loss", "rmse", "mse"):
        a, b, c = (fold["metrics"][name] for fold in folds)
        assert len({a, b, c}) == 3
        mean = (a + b + c) / 3
        assert result["metrics"][name] == pytest.approx(mean, rel=1e-12)
        deviation = (((a - mean) ** 2 + (b - mean) ** 2 + (c - mean) ** 2) / 2) ** 0.5
        assert result["std"][name] == pytest.approx(deviation, rel=1e-9)
    assert result["best"] == {"rmse": pytest.approx(sum(fold["best"]["rmse"] for fold in folds) / 3)}
    assert (result["steps"], result["length"]) == (36, "3 epochs")


def test_every_fold_is_a_run_and_judges_other_rows(whole: Path) -> None:
    for fold in range(3):
        folder = whole / f"fold-{fold}"
        found = d2lcli.evaluate(folder, checkpoint="last")
        assert found["examples"] == 10
        assert found["metrics"]["rmse"] == pytest.approx(result_of(folder)["metrics"]["rmse"])
        assert {path.name for path in folder.iterdir()} >= {"config.yaml", "meta.json", "metrics.jsonl", "checkpoints"}
        assert f"fold: {fold}" in (folder / "config.yaml").read_text()
    with pytest.raises(ConfigError, match="holds a cross-validation") as caught:
        d2lcli.evaluate(whole)
    assert caught.value.hint.endswith("fold-0")


def test_a_fold_alone_is_the_same_run(whole: Path, tmp_path: Path) -> None:
    train(tmp_path / "run", *WORDS, "fold=1")
    assert_equal(tmp_path / "run", outcome(whole / "fold-1"))


def test_what_the_command_says(call: Call, whole: Path, tmp_path: Path) -> None:
    code, out, told = call("train", *WORDS, "--json", "--run-dir", tmp_path / "run")
    assert code == 0 and json.loads(out) == result_of(tmp_path / "run")
    assert_same(tmp_path / "run", whole)
    lines = [line for line in told.splitlines() if line.startswith(("fold-", "mean"))]
    assert [line.split(":")[0] for line in lines] == [
        "fold-0 of 3",
        "fold-1 of 3",
        "fold-2 of 3",
        "mean and standard deviation of 3 folds",
    ]
    mean, deviation = (result_of(whole)[key]["rmse"] for key in ("metrics", "std"))
    assert f"rmse {mean:.4g} +- {deviation:.2g}" in lines[-1]
    assert call("train", "--resume", tmp_path / "run")[:2] == (0, f"{tmp_path / 'run'}\n")


def test_a_finished_one_is_left_alone(whole: Path) -> None:
    before = everything(whole)
    assert resume(whole) == result_of(whole)
    assert resume(whole, *WORDS) == result_of(whole)
    assert everything(whole) == before


def stop_in_fold(monkeypatch: pytest.MonkeyPatch, fold: int, step: int) -> None:
    """Let SIGTERM arrive in update number `step` of a fold, once."""
    fit = Trainer.fit

    def waiting(self: Trainer) -> None:
        if self.folder.name == f"fold-{fold}":
            monkeypatch.setattr(Trainer, "fit", fit)
            stop_at(monkeypatch, step)
        fit(self)

    monkeypatch.setattr(Trainer, "fit", waiting)


@pytest.mark.parametrize(("fold", "step"), [(0, 1), (1, 6), (2, 12)])
def test_stopped_in_a_fold(fold: int, step: int, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stop_in_fold(monkeypatch, fold, step)
    with pytest.raises(signals.Stopped):
        train(tmp_path / "run", *WORDS)
    result = result_of(tmp_path / "run")
    assert (result["status"], result["metrics"]) == ("stopped", {})
    assert [part["status"] for part in result["folds"]] == ["finished"] * fold + ["stopped"]
    done = {number: everything(tmp_path / "run" / f"fold-{number}") for number in range(fold)}
    resume(tmp_path / "run")
    assert_same(tmp_path / "run", whole)
    assert {number: everything(tmp_path / "run" / f"fold-{number}") for number in range(fold)} == done


def test_json_and_code_of_a_stopped_one(call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stop_in_fold(monkeypatch, 1, 2)
    code, out, told = call("train", *WORDS, "--json", "--run-dir", tmp_path / "run")
    assert code == 143 and json.loads(out)["status"] == "stopped"
    assert told.splitlines()[-1] == f"go on with all folds: d2l train --resume {tmp_path / 'run'}"


def test_killed_in_a_fold(whole: Path, tmp_path: Path) -> None:
    """Signal 9 to the real command while the second fold is trained, then the same command again."""
    folder = tmp_path / "run"
    command = [sys.executable, "-m", "d2lcli", "train", *WORDS, "epochs=12", "--resume", str(folder)]
    with subprocess.Popen(command, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 60
        while not (folder / "fold-1" / "checkpoints" / "last").exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        process.kill()
        assert process.wait(timeout=30) == -signal.SIGKILL
    before = everything(folder / "fold-0")
    assert rows(folder / "fold-1", "val")[-1]["step"] < 48 and not (folder / "fold-2").exists()
    again = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=120)
    assert again.returncode == 0 and "resumed at step" in again.stderr, again.stderr
    assert everything(folder / "fold-0") == before
    train(tmp_path / "other", *WORDS, "epochs=12")
    assert_same(folder, tmp_path / "other")


def test_longer_on_resume(tmp_path: Path) -> None:
    train(tmp_path / "run", *WORDS)
    with pytest.raises(ConfigError, match="cv: 3 -> 4 would change the course"):
        resume(tmp_path / "run", "cv=4")
    resume(tmp_path / "run", "epochs=5")
    train(tmp_path / "long", *WORDS, "epochs=5")
    assert_same(tmp_path / "run", tmp_path / "long")
    assert "epochs: 5" in (tmp_path / "run" / "config.yaml").read_text()
    assert "epochs: 5" in (tmp_path / "run" / "fold-2" / "config.yaml").read_text()


def test_a_fold_that_fails(call: Call, tmp_path: Path) -> None:
    code, out, told = call("train", *WORDS, "optim.lr=1e30", "--json", "--run-dir", tmp_path / "run")
    assert (code, json.loads(out)["status"]) == (5, "failed")
    assert "fold-0" in told and result_of(tmp_path / "run")["error"] == result_of(tmp_path / "run/fold-0")["error"]


def test_the_folder_is_locked(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stop_in_fold(monkeypatch, 0, 2)
    with pytest.raises(signals.Stopped):
        train(tmp_path / "run", *WORDS)
    with (tmp_path / "run" / ".lock").open() as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(D2LError, match="in use by pid"):
            resume(tmp_path / "run")
    resume(tmp_path / "run")
    assert_same(tmp_path / "run", whole)


def test_lost_checkpoints_are_named(tmp_path: Path) -> None:
    train(tmp_path / "run", *WORDS)
    (tmp_path / "run" / "fold-1" / "checkpoints").rename(tmp_path / "elsewhere")
    with pytest.raises(CheckpointError, match="fold-1: the run is finished, but its checkpoints are gone"):
        resume(tmp_path / "run")


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("cv=1",), "cv: 1 is out of range"),
        (("cv=31",), "folds is 31; it must be between 2 and 30"),
        (("data=ames", "cv=2931"), "folds is 2931; it must be between 2 and 2930"),
        (("data.batch_size=21",), "batch_size is 21, but the train split has only 20 examples"),
        (("fold=3",), "fold: 3 is no fold of cv=3"),
        (("cv=null", "fold=0"), "fold: 0 belongs to a cross-validation"),
        (("hardware=ddp", "hardware.devices=2"), "cv: strategy 'ddp' trains one fold at a time"),
    ],
)
def test_what_is_refused(words: tuple[str, ...], text: str, call: Call, tmp_path: Path) -> None:
    shared = WORDS if "data=ames" not in words else WORDS[3:]
    code, out, told = call("train", *shared, *words, "--run-dir", tmp_path / "run")
    errors = [line for line in told.splitlines() if line.startswith("error: ")]
    assert (code, out, len(errors)) == (2, "", 1) and text in errors[0]
    assert not (tmp_path / "run").exists()


def test_images_on_the_disk_have_no_folds(call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=0))  # so they are not kept in it
    for name in ("cat", "dog"):
        (tmp_path / "images" / name).mkdir(parents=True)
        for index in range(6):
            Image.new("RGB", (16, 16), (index, 9, 9)).save(tmp_path / "images" / name / f"{index}.png")
    words = ("model=lenet", "data=image_folder", f"data.path={tmp_path}/images", "data.batch_size=2")
    code, _, told = call("train", *words, "cv=2", "--run-dir", tmp_path / "run")
    assert code == 2 and "cv=2 on data 'image_folder': its examples are read from the disk" in told


def test_the_whole_table_of_house_prices(tmp_path: Path) -> None:
    """Ames has folds of its own: together they judge all 2,930 rows; the mlp predicts prices without being told to."""
    result = train(tmp_path / "run", "data=ames", "cv=2", "steps=1", "hardware=cpu")
    assert sum(d2lcli.evaluate(part["run"])["examples"] for part in result["folds"]) == 2930
    assert set(result["metrics"]) == {"loss", "rmse"}


def test_smoke_fits_any_number_of_folds(tmp_path: Path) -> None:
    result = train(tmp_path / "run", "model=linear_regression", "cv=9", smoke=True)
    assert result["steps"] == 18 and len(result["folds"]) == 9

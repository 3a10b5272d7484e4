"""`d2l train` as a user gives it: what it prints and writes, what it refuses, and hostile surroundings."""

import fcntl
import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from runs import LINEAR, MLP, everything, newest, stop_at, train

from d2lcli.__main__ import main
from d2lcli.data.dataset import Dataset
from d2lcli.training import build
from d2lcli.training.plan import make_plan

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Call:
    """The command in this process: exit code, stdout, stderr."""

    def run(*words: object) -> tuple[int, str, str]:
        code = main([str(word) for word in words])
        seen = capsys.readouterr()
        return code, seen.out, seen.err

    return run


def clean_error(told: str) -> str:
    """The error of a command that failed: one line, and one of advice."""
    lines = told.splitlines()
    errors = [line for line in lines if line.startswith("error: ")]
    assert len(errors) == 1 and "Traceback" not in told and "a bug in d2l" not in told, told
    assert all(line.startswith(("error: ", "hint: ")) for line in lines[lines.index(errors[0]) :])
    return errors[0]


def test_the_folder_is_the_last_line(call: Call, tmp_path: Path) -> None:
    code, out, told = call("train", *MLP, "--run-dir", tmp_path / "run")
    assert (code, out) == (0, f"{tmp_path / 'run'}\n")
    assert "mlp: 6,370 parameters" in told and "best so far" in told


def test_json_is_the_last_line(call: Call, tmp_path: Path) -> None:
    code, out, _ = call("train", *LINEAR, "--json", "--run-dir", tmp_path / "run")
    result = json.loads(out.splitlines()[-1])
    assert code == 0 and result == json.loads((tmp_path / "run" / "result.json").read_text())
    assert (result["run"], result["status"]) == (str(tmp_path / "run"), "finished") and "rmse" in result["metrics"]
    code, again, told = call("train", "--resume", tmp_path / "run", "--json")
    assert (code, json.loads(again)) == (0, result) and "finished already" in told


def test_json_of_a_failed_run(call: Call, tmp_path: Path) -> None:
    code, out, told = call("train", *MLP, "optim.lr=1e30", "--json", "--run-dir", tmp_path / "run")
    result = json.loads(out.splitlines()[-1])
    assert (code, result["status"]) == (5, "failed")
    assert "the loss is" in clean_error(told) and "the loss is" in result["error"]


def test_json_of_a_stopped_run(call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stop_at(monkeypatch, 7)
    code, out, told = call("train", *MLP, "--json", "--run-dir", tmp_path / "run")
    result = json.loads(out)
    assert (code, result["status"], result["steps"]) == (143, "stopped", 7)
    assert f"stopped by SIGTERM at step 7, saved; go on with: d2l train --resume {tmp_path / 'run'}" in told


def test_smoke(call: Call, tmp_path: Path) -> None:
    code, out, _ = call("train", "model=lenet", "--smoke", "--json", "--run-dir", tmp_path / "run")
    result = json.loads(out)
    assert (code, result["steps"], result["status"]) == (0, 2, "finished") and "accuracy" in result["metrics"]
    assert newest(tmp_path / "run").name == "step-00000002"


@pytest.mark.parametrize(
    ("words", "layers"),
    [
        (["model=transformer_lm"], 2),
        (["model=transformer_lm", "model.dropout=0.5"], 2),
        (["model=gpt2_xl"], 2),
        (["model=rnn_lm"], 1),
        (["model=transformer_lm", "model.num_layers=3"], 3),
        (["model={name: transformer_lm, num_layers: 5}"], 5),
    ],
)
def test_a_smoke_run_has_two_layers_unless_asked_for_more(words: list[str], layers: int, tmp_path: Path) -> None:
    assert make_plan(words, run_dir=tmp_path / "run", smoke=True).values["model"]["num_layers"] == layers


def test_a_smoke_run_keeps_the_layers_of_a_user_s_file(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("model:\n  name: transformer_lm\n  num_layers: 3\n")
    plan = make_plan([], config_file=file, run_dir=tmp_path / "run", smoke=True)
    assert plan.values["model"]["num_layers"] == 3


def test_the_default_folder_is_below_runs(call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    outs = [call("train", *LINEAR, "epochs=1")[1].strip() for _ in range(2)]
    assert len(set(outs)) == 2
    assert all(out.startswith("runs/") and "linear_regression-synthetic_regression" in out for out in outs)
    assert all((tmp_path / out / "result.json").is_file() for out in outs)


def test_a_folder_with_a_run_is_refused(call: Call, tmp_path: Path) -> None:
    train(tmp_path / "run", *LINEAR)
    before = everything(tmp_path)
    code, out, told = call("train", *LINEAR, "--run-dir", tmp_path / "run")
    assert (code, out) == (2, "") and "holds a run already" in clean_error(told) and "--resume" in told
    assert everything(tmp_path) == before


def test_a_folder_with_something_else_is_refused(call: Call, tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("x")
    code, _, told = call("train", *LINEAR, "--run-dir", tmp_path)
    assert code == 2 and "is not empty ('letter.txt')" in clean_error(told)
    assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]


def test_a_link_is_refused(call: Call, tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "nowhere").symlink_to(tmp_path / "missing")
    for name in ("link", "loop", "nowhere"):
        code, _, told = call("train", *LINEAR, "--run-dir", tmp_path / name)
        assert code == 2 and "is a link" in clean_error(told), name
    assert list((tmp_path / "real").iterdir()) == [] and not (tmp_path / "missing").exists()


def test_links_planted_in_a_run_are_not_written_through(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop_at(monkeypatch, 7)
    call("train", *LINEAR, "--run-dir", tmp_path / "run")
    (tmp_path / "precious").write_text("x")
    (tmp_path / "run" / "metrics.jsonl").unlink()
    (tmp_path / "run" / "metrics.jsonl").symlink_to(tmp_path / "precious")
    code, _, told = call("train", "--resume", tmp_path / "run")
    assert code == 1 and "metrics.jsonl" in clean_error(told)
    assert (tmp_path / "precious").read_text() == "x"


@pytest.mark.parametrize("place", ["/proc/nosuch/run", "/sys/run", "{file}/run", "{file}", "/dev/null/x"])
def test_a_folder_that_cannot_be_made(place: str, call: Call, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    code, out, told = call("train", *LINEAR, "--run-dir", place.format(file=tmp_path / "file"))
    assert code in (1, 2) and out == "" and clean_error(told)
    assert (tmp_path / "file").read_text() == "x"


def test_two_runs_in_one_folder(call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stop_at(monkeypatch, 7)
    call("train", *LINEAR, "--run-dir", tmp_path / "run")
    before = everything(tmp_path / "run" / "checkpoints")
    with (tmp_path / "run" / ".lock").open() as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        code, _, told = call("train", "--resume", tmp_path / "run")
    assert code == 1 and f"in use by pid {os.getpid()}" in clean_error(told)
    assert everything(tmp_path / "run" / "checkpoints") == before
    assert call("train", "--resume", tmp_path / "run")[0] == 0


# What is wrong with the data or the options, before anything is written.


def refused(call: Call, tmp_path: Path, *words: object) -> tuple[int, str]:
    code, out, told = call("train", *words, "--run-dir", tmp_path / "run")
    assert out == "" and not (tmp_path / "run").exists()
    return code, clean_error(told)


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("epochs=0",), "epochs: 0 is out of range"),
        (("data.batch_size=41",), "batch_size is 41, but the train split has only 40 examples"),
        (("data.batch_size=-1",), "data.batch_size: -1"),
        (("hardware.device=cuda",), "hardware.device: 'cuda' is not here: this machine has"),
        (("hardware.device=cuda:7",), "hardware.device: 'cuda:7' is not here: this machine has"),
        (("hardware.devices=2",), "hardware.devices: 2"),
        (("ema=1.5",), "ema"),
        (("optim.lrr=1",), "optim.lrr: unknown key of optim 'sgd'; did you mean 'optim.lr'"),
    ],
)  # fmt: skip
def test_wrong_options(
    words: tuple[str, ...], text: str, call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "cuda" in "".join(words):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    code, error = refused(call, tmp_path, *LINEAR, *words)
    assert code == 2 and text in error


def test_missing_data(call: Call, tmp_path: Path) -> None:
    words = ("data=csv", f"data.path={tmp_path}/no.csv", "data.target=y")
    code, error = refused(call, tmp_path, "model=mlp", *words)
    assert code == 3 and "no.csv" in error


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"", ""),
        (b"x,y\n", ""),
        (b"x,y\n1,caf\xe9\n2,b\n", "UTF-8"),
        (b"x,y\n1,2\n3\n", ""),
        ("x,y\n1,2\n".encode("utf-16"), ""),
    ],
)
def test_a_damaged_table(content: bytes, text: str, call: Call, tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_bytes(content)
    code, error = refused(call, tmp_path, "model=mlp", "data=csv", f"data.path={tmp_path}/table.csv", "data.target=y")
    assert code == 3 and "table.csv" in error and text in error


@pytest.mark.parametrize("broken", ["text", "truncated", "empty"])
def test_an_unreadable_image(broken: str, call: Call, tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        (tmp_path / "images" / name).mkdir(parents=True)
        for index in range(5):
            Image.new("RGB", (16, 16), (index, 9, 9)).save(tmp_path / "images" / name / f"{index}.png")
    bad = tmp_path / "images" / "dog" / "3.png"
    bad.write_bytes({"text": b"hello", "truncated": bad.read_bytes()[:40], "empty": b""}[broken])
    words = (
        "model=lenet",
        "data=image_folder",
        f"data.path={tmp_path}/images",
        "data.image_size=16",
        "data.batch_size=4",
    )
    code, error = refused(call, tmp_path, *words)
    assert code == 3 and "3.png" in error


@pytest.mark.parametrize("label", [10, -1])
def test_a_label_out_of_range(label: int, call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = build.build_data

    def wrong(*given: Any) -> Dataset:
        dataset = original(*given)
        targets = dataset.train.targets.clone()
        targets[17] = label
        return replace(dataset, train=replace(dataset.train, targets=targets))

    monkeypatch.setattr(build, "build_data", wrong)
    code, error = refused(call, tmp_path, *MLP)
    assert code == 3 and "17" in error and str(label) in error and "10" in error


def test_a_data_set_that_does_not_fit_the_model(call: Call, tmp_path: Path) -> None:
    code, error = refused(call, tmp_path, "model=lenet", "data=synthetic_regression")
    assert code == 2 and "takes images" in error

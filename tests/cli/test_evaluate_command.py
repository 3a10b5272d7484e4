"""`d2l evaluate`: checkpoints, splits, closed-form intervals, checkpoints that do not fit, and hostile files."""

import hashlib
import json
import math
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from runs import LINEAR, MLP, everything, newest, rows, stop_at, train
from safetensors.torch import load_file

import d2lcli
from d2lcli.__main__ import main
from d2lcli.registry import DATASETS

Z = 1.959963984540054  # the normal distribution's 97.5 % quantile


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """The command in this process: exit code, stdout, stderr."""

    def run(*words: object) -> tuple[int, str, str]:
        code = main([str(word) for word in words])
        seen = capsys.readouterr()
        return code, seen.out, seen.err

    return run


Call = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of MLP with all its checkpoints: steps 5, 10, 15."""
    folder = tmp_path_factory.mktemp("evaluate") / "run"
    train(folder, *MLP, "keep=9", "optim.lr=0.5", "ema=0.5")
    return folder


def values_at(folder: Path) -> dict[int, dict[str, Any]]:
    return {row["step"]: row["values"] for row in rows(folder, "val")}


def ask(call: Call, *words: object) -> dict[str, Any]:
    code, out, told = call("evaluate", *words, "--json")
    assert code == 0, told
    found: dict[str, Any] = json.loads(out)
    return found


def test_which_checkpoint(call: Call, finished: Path) -> None:
    logged = values_at(finished)
    best = max(logged, key=lambda step: (logged[step]["accuracy"], -step))
    path = finished / "checkpoints" / "step-00000005"
    for words, step in (
        ([], best),
        (["--checkpoint", "last"], 15),
        (["--checkpoint", 10], 10),
        (["--checkpoint", path], 5),
    ):
        found = ask(call, finished, *words)
        assert (found["step"], found["split"], found["examples"], found["run"]) == (step, "val", 40, str(finished))
        assert found["metrics"] == pytest.approx(logged[step], rel=1e-6)


def test_python_gives_the_same(call: Call, finished: Path) -> None:
    found = d2lcli.evaluate(finished, checkpoint="last", split="train")
    printed = ask(call, finished, "--checkpoint", "last", "--split", "train")
    assert found.keys() == printed.keys() and found["metrics"] == printed["metrics"]
    assert {name: list(bounds) for name, bounds in found["intervals"].items()} == printed["intervals"]


def test_the_training_split_and_closed_form_intervals(call: Call, finished: Path) -> None:
    """Accuracy p of n examples has the sample variance p (1 - p) n / (n - 1); the loss that of its values."""
    found = ask(call, finished, "--split", "train", "--checkpoint", "last")
    weights = load_file(newest(finished) / "ema.safetensors")
    data = DATASETS.build("fashion_mnist_mini", image_size=28).head(40).train
    hidden_w, hidden_b = weights["hidden1.weight"], weights["hidden1.bias"]
    out_w, out_b = (weights[name] for name in sorted(set(weights) - {"hidden1.weight", "hidden1.bias"}, reverse=True))
    inputs = data.prepare(data.inputs) if data.prepare else data.inputs
    outputs = (inputs.flatten(1) @ hidden_w.T + hidden_b).relu() @ out_w.T + out_b
    right = (outputs.argmax(1) == data.targets).double()
    p = right.mean().item()
    half = Z * math.sqrt(p * (1 - p) / 39)
    assert found["metrics"]["accuracy"] == pytest.approx(p) and 0 < p < 1
    assert found["intervals"]["accuracy"] == pytest.approx([max(0, p - half), min(1, p + half)], rel=1e-6)
    losses = torch.nn.functional.cross_entropy(outputs, data.targets, reduction="none").double()
    half = Z * losses.std().item() / math.sqrt(40)
    assert found["metrics"]["loss"] == pytest.approx(losses.mean().item(), rel=1e-5)
    assert found["intervals"]["loss"] == pytest.approx(
        [losses.mean().item() - half, losses.mean().item() + half], rel=1e-5
    )


def test_for_people(call: Call, finished: Path) -> None:
    code, out, _ = call("evaluate", finished, "--checkpoint", "last")
    value = values_at(finished)[15]["accuracy"]
    assert code == 0 and "(step 15) on 40 val examples" in out
    assert f"accuracy           {value:.5g}   95% interval" in out


def test_other_metrics(call: Call, finished: Path) -> None:
    found = ask(call, finished, "task.metrics=[accuracy,{name: top_k, k: 10}]", "data.limit=20")
    assert (found["examples"], found["metrics"]["top_k"]) == (20, 1.0)


def test_the_run_stays_as_it_was(call: Call, finished: Path) -> None:
    before = everything(finished)
    for words in ((), ("--split", "train"), ("--checkpoint", "nosuch"), ("data.limit=7",)):
        call("evaluate", finished, *words)
    assert everything(finished) == before


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (("--checkpoint", "7"), 4, "no checkpoint '7'"),
        (("--checkpoint", "../../etc"), 4, "no checkpoint '../../etc'"),
        (("--split", "tset"), 2, "no split 'tset'"),
        (("model.hidden=[9]",), 4, "has shape (8, 784) instead of (9, 784)"),
        (("model.hidden=[8,8]",), 4, "missing '"),
        (("optim.lrr=1",), 2, "did you mean 'optim.lr'"),
    ],
)
def test_what_is_refused(words: tuple[str, ...], code: int, text: str, call: Call, finished: Path) -> None:
    found, out, told = call("evaluate", finished, *words)
    assert (found, out) == (code, "") and told.count("error: ") == 1 and text in told
    assert "Traceback" not in told and told.count("\n") <= 2


def test_another_model_s_checkpoint(call: Call, finished: Path, tmp_path: Path) -> None:
    train(tmp_path / "other", "model=lenet", *MLP[2:], "epochs=1")
    code, _, told = call("evaluate", finished, "--checkpoint", newest(tmp_path / "other"))
    assert code == 4 and "does not fit this model: missing 'hidden1.weight'" in told and "and " in told


def test_no_run_and_no_checkpoint(call: Call, finished: Path, tmp_path: Path) -> None:
    assert call("evaluate", tmp_path / "missing")[0] == 4
    assert call("evaluate", tmp_path)[0] == 4
    shutil.copytree(finished, tmp_path / "run", symlinks=True)
    shutil.rmtree(tmp_path / "run" / "checkpoints")
    code, _, told = call("evaluate", tmp_path / "run")
    assert code == 4 and "no checkpoint 'best'" in told
    code, _, told = call("train", "--resume", tmp_path / "run")
    assert code == 4 and "its checkpoints are gone" in told


def test_a_damaged_checkpoint_is_named(call: Call, finished: Path, tmp_path: Path) -> None:
    shutil.copytree(finished, tmp_path / "run", symlinks=True)
    file = newest(tmp_path / "run") / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-1] + b"\x00\x00")
    code, _, told = call("evaluate", tmp_path / "run", "--checkpoint", "last")
    assert code == 4 and "model.safetensors" in told and "step-00000015" in told


class Trap:
    """Unpickling it makes a folder."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.mark),)


def reseal(checkpoint: Path) -> None:
    """Make the checksums right after a change, as an attacker would."""
    manifest = json.loads((checkpoint / "manifest.json").read_text())
    manifest.pop("sha256")
    for name in manifest["files"]:
        content = (checkpoint / name).read_bytes()
        manifest["files"][name] = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    manifest["sha256"] = hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()
    (checkpoint / "manifest.json").write_text(json.dumps(manifest))


DEADLY = ("model.safetensors", "state.json", "manifest.json", "../../config.yaml")  # what an evaluation reads
PLACES = [
    "model.safetensors",
    "optimizer.safetensors",
    "state.json",
    "manifest.json",
    "extra.pt",
    "model.pt",
    ".metadata",
]


@pytest.mark.parametrize("forced", ["", "1"])
def test_pickles_never_run(
    forced: str, call: Call, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In each place of a stopped run's folder, sealed; by both commands, and with torch's own guard switched off."""
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", forced)
    stop_at(monkeypatch, 7)
    assert call("train", *LINEAR, "keep=9", "--run-dir", tmp_path / "clean")[0] == 143
    mark = tmp_path / "mark"
    torch.save(Trap(mark), tmp_path / "trap.pt")
    traps = [pickle.dumps(Trap(mark)), (tmp_path / "trap.pt").read_bytes()]
    for index, place in enumerate([*PLACES, "../../config.yaml", "../../result.json", "../../meta.json"]):
        folder = tmp_path / str(index)
        shutil.copytree(tmp_path / "clean", folder, symlinks=True)
        for checkpoint in (folder / "checkpoints").glob("step-*"):
            (checkpoint / place).write_bytes(traps[index % 2])
            if place in PLACES[:3]:
                reseal(checkpoint)
        code, _, told = call("evaluate", folder)
        assert code in (0, 4) and "Traceback" not in told and "a bug" not in told
        assert (code == 0) == (place not in DEADLY), (place, told)
        code, _, told = call("train", "--resume", folder)
        assert code in (0, 4) and "Traceback" not in told and "a bug" not in told
        assert not mark.exists(), place
    pickle.loads(traps[0])  # noqa: S301 -- the control: such a trap works
    assert mark.is_dir()


@pytest.mark.parametrize(
    "change",
    [
        {"progress": {"step": 5, "epoch": -1, "batch": 0}},
        {"progress": []},
        {"progress": {"step": "x"}},
        {"ranks": [{"random": {"torch": "zz"}}]},
        {"ranks": "os.system"},
        {"optimizer": {"_target_": "os.system"}},
        {"log": {"rows": -5, "events": 10**30}},
        {"aliases": {"model": {"weight": 3}}},
        {"aliases": 7},
    ],
)
def test_a_hostile_state_is_a_clean_error(
    change: dict[str, Any], call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop_at(monkeypatch, 7)
    assert call("train", *LINEAR, "keep=1", "--run-dir", tmp_path / "run")[0] == 143
    for checkpoint in (tmp_path / "run" / "checkpoints").glob("step-*[0-9p]"):
        state = json.loads((checkpoint / "state.json").read_text())
        (checkpoint / "state.json").write_text(json.dumps(state | change))
        reseal(checkpoint)
    code, _, told = call("train", "--resume", tmp_path / "run")
    assert code == 4, told
    assert "Traceback" not in told and "a bug" not in told

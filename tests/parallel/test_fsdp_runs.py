"""Whole runs of fully sharded data parallelism: checkpoints in pieces, kills, other numbers of processes."""

import json
from pathlib import Path

import pytest
import torch
from killing import train_and_kill
from runs import d2l, newest, outcome, rows, train

from d2lcli.parallel.single import Piece
from d2lcli.training.checkpoint import read_snapshot
from d2lcli.training.pieces import assemble, merge

SMALL = ("model=mlp", "model.hidden=[8]", "model.dropout=0.2", "ema=0.9", "clip_norm=0.5", "hardware.threads=1")
DATA = ("data.limit=40", "data.batch_size=8", "data.eval_batch_size=8", "log_every=3", "checkpoint_every=3")
FSDP = ("hardware=fsdp", "hardware.device=cpu", "hardware.precision=fp32")


@pytest.mark.parametrize("victim", [1, pytest.param(0, marks=pytest.mark.slow)])
def test_killed_and_resumed_to_the_bit(tmp_path: Path, victim: int) -> None:
    words = [*SMALL, *DATA, *FSDP, "hardware.devices=2", "epochs=20"]
    code, told = train_and_kill(tmp_path / "run", victim, *words)
    assert code == 7 and f"rank {victim} was killed by SIGKILL" in told, told
    again = d2l("train", "--resume", tmp_path / "run")
    assert again.returncode == 0 and "resumed at step" in again.stderr, again.stderr
    whole = d2l("train", *words, "--run-dir", tmp_path / "whole")
    assert whole.returncode == 0, whole.stderr
    found, expected = outcome(tmp_path / "run"), outcome(tmp_path / "whole")
    assert [name for name in expected if found[name] != expected[name]] == []
    assert "model-00001.safetensors" in found and read_snapshot(newest(tmp_path / "run")).tensors["model"]
    judged = d2l("evaluate", tmp_path / "run", "--checkpoint", "last", "--json")
    assert json.loads(judged.stdout)["metrics"] == pytest.approx(rows(tmp_path / "run", "val")[-1]["values"], rel=1e-5)


@pytest.mark.slow
def test_killed_again_and_again(tmp_path: Path) -> None:
    """Any process, at any moment, also while it starts or writes; the launcher too."""
    words = [*SMALL, *DATA, *FSDP, "hardware.devices=2", "epochs=150", "checkpoint_every=2"]
    for victim, wait in ((0, 0.3), (1, 0.05), (None, 1.1), (1, 4.0), (0, 3.0)):
        code, told = train_and_kill(tmp_path / "run", victim, *words, wait=wait)
        assert code in (7, -9), told
    again = d2l("train", "--resume", tmp_path / "run", timeout=120)
    assert again.returncode == 0, again.stderr
    whole = d2l("train", *words, "--run-dir", tmp_path / "whole", timeout=120)
    assert whole.returncode == 0, whole.stderr
    found, expected = outcome(tmp_path / "run"), outcome(tmp_path / "whole")
    assert [name for name in expected if found[name] != expected[name]] == []


@pytest.mark.slow
@pytest.mark.parametrize("counts", [(2, 1), (4, 2, 1)])
def test_a_run_goes_on_with_another_number_of_processes(tmp_path: Path, counts: tuple[int, ...]) -> None:
    """Without dropout it is the run of one process but for rounding."""
    words = [*SMALL, *DATA, "model.dropout=0", "optim=sgd", f"epochs={2 * len(counts)}"]
    for number, count in enumerate(counts):
        now = [*FSDP, f"hardware.devices={count}", f"epochs={2 * (number + 1)}"]
        place = ["--resume", tmp_path / "run", "--allow-drift"] if number else ["--run-dir", tmp_path / "run"]
        done = d2l("train", *(now if number else [*words, *now]), *place)
        assert done.returncode == 0, done.stderr
        written = list(newest(tmp_path / "run").glob("model-*.safetensors"))
        assert len(written) == count
    train(tmp_path / "one", *words, "hardware=cpu")
    assert len(rows(tmp_path / "run", "val")) == 2 * len(counts)
    for found, expected in zip(rows(tmp_path / "run"), rows(tmp_path / "one"), strict=True):
        assert found["step"] == expected["step"]
        assert found["values"] == pytest.approx(expected["values"], rel=1e-3)


@pytest.mark.slow
def test_another_number_of_processes_needs_a_word(tmp_path: Path) -> None:
    words = [*SMALL, *DATA, *FSDP, "hardware.devices=1", "epochs=1", "strategy.split_checkpoints=false"]
    assert d2l("train", *words, "--run-dir", tmp_path / "run").returncode == 0
    assert {path.name for path in newest(tmp_path / "run").glob("*.safetensors")} == {
        "model.safetensors",
        "optimizer.safetensors",
        "ema.safetensors",
    }
    refused = d2l("train", "--resume", tmp_path / "run", "hardware.devices=2", "epochs=2")
    assert refused.returncode == 2 and "--allow-drift" in refused.stderr


WHOLE = torch.arange(12.0).view(4, 3)
INDEX = merge(
    [{"model": {"w": ([4, 3], [0, 0])}}, {"model": {"w": ([4, 3], [2, 0])}}],
)["model"]
HELD = {"0": {"w": WHOLE[:2]}, "1": {"w": WHOLE[2:]}}


def test_pieces_are_put_together() -> None:
    assert torch.equal(assemble(INDEX, HELD)["w"], WHOLE)
    assert Piece(WHOLE[:2], (4, 3), (0, 0)).start == (0, 0)


@pytest.mark.parametrize(
    ("index", "wrong"),
    [
        ({"w": {"shape": [4, 3], "starts": {"0": [0, 0]}}}, "do not fill"),
        ({"w": {"shape": [4, 3], "starts": {"0": [0, 0], "1": [0, 0]}}}, "same place"),
        ({"w": {"shape": [4, 3], "starts": {"0": [0, 0], "1": [3, 0]}}}, "lies outside"),
        ({"w": {"shape": [4, 3], "starts": {"0": [0, 0], "1": [-2, 0]}}}, "lies outside"),
        ({"w": {"shape": [4, 3], "starts": {"0": [0], "1": [2]}}}, "another form"),
        ({"w": {"shape": [-4, 3], "starts": {"0": [0, 0], "1": [2, 0]}}}, "has the shape"),
    ],
)
def test_an_index_that_does_not_fit_is_refused(index: dict[str, object], wrong: str) -> None:
    with pytest.raises(ValueError, match=wrong):
        assemble(index, HELD)

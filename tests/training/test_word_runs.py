"""Runs of word embeddings: exact resume, the two ways of an update, evaluation, what is generated, wrong uses."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from runs import assert_equal, outcome, resume, rows, stop_at, train, weights

from d2lcli.__main__ import main
from d2lcli.data.vectors import read_vectors, write_vectors
from d2lcli.errors import ConfigError
from d2lcli.training.signals import Stopped

COMMON = ("hardware=cpu", "hardware.threads=1", "log_every=3", "epochs=2", "data.limit=12", "model.embed_dim=8")
WORDS = ("data.num_steps=16", "data.batch_size=4", *COMMON)
KINDS = {
    "skipgram": ("model=skipgram", *WORDS),
    "cbow": ("model=cbow", "task.pool=null", *WORDS),
    "tree": ("model=skipgram", "task.loss=hierarchical_softmax", "optim.lr=1", *WORDS),
    "adam": ("model=cbow", "optim=adam", "scheduler=constant", "optim.lr=0.01", *WORDS),
    "glove": ("model=glove", "data.batch_size=64", "data.limit=300", *COMMON[:4], "model.embed_dim=8"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_stopped_run_ends_as_one_that_was_not(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert train(tmp_path / "whole", *KINDS[kind])["status"] == "finished"
    stop_at(monkeypatch, 4)
    with pytest.raises(Stopped):
        train(tmp_path / "parted", *KINDS[kind])
    resume(tmp_path / "parted")
    assert_equal(tmp_path / "parted", outcome(tmp_path / "whole"))


@pytest.mark.parametrize("model", ["skipgram", "cbow"])
def test_its_own_update_and_autograd_come_to_the_same(model: str, tmp_path: Path) -> None:
    options = (f"model={model}", *WORDS)
    train(tmp_path / "own", *options)
    train(tmp_path / "autograd", *options, "clip_norm=1e9")
    for key, value in weights(tmp_path / "own").items():
        torch.testing.assert_close(weights(tmp_path / "autograd")[key], value, rtol=1e-4, atol=1e-6)


def test_training_lowers_the_loss(tmp_path: Path) -> None:
    train(tmp_path / "run", "model=skipgram", "data.subsample=0.01", "epochs=3", "hardware=cpu", "hardware.threads=1")
    losses = [row["values"]["loss"] for row in rows(tmp_path / "run", "val")]
    assert losses[2] < losses[1] < losses[0]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("words") / "run"
    train(folder, *KINDS["skipgram"])
    return folder


def said(capsys: pytest.CaptureFixture[str], *words: Any) -> tuple[int, str, str]:
    capsys.readouterr()
    code = main([str(word) for word in words])
    found = capsys.readouterr()
    return code, found.out, found.err


def test_an_evaluation_adds_analogies_and_says_how_many_tests_there_were(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = said(capsys, "evaluate", run, "--json")
    values = json.loads(out)["metrics"]
    assert code == 0 and {"loss", "wordsim353", "simlex999"} <= set(values)
    assert 0 < values["simlex999_pairs"] < 999 and 0 < values["analogies_known"] < 19_544
    assert 0 <= values["analogies"] <= 1
    assert "analogies" not in rows(run, "val")[-1]["values"]


def test_neighbours_are_printed(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = said(capsys, "generate", run, "--prompt", "school", "--prompt", "school - teacher + i", "--json")
    first, second = json.loads(out)
    assert code == 0 and err == ""
    assert len(first["words"]) == 10 and "school" not in first["words"] and "i" not in second["words"]
    code, out, _ = said(capsys, "generate", run, "--prompt", "school", "decoder.num=3")
    assert code == 0 and [line.split()[1] for line in out.splitlines()] == first["words"][:3]
    code, out, _ = said(capsys, "generate", run, "--prompt", "school", "--num", "2", "decoder.unit=false")
    assert code == 0 and len(out.splitlines()) == 2
    assert (run / "samples" / "neighbours.txt").read_text() == f"school\n{out}"  # for a report


def test_vectors_are_exported_and_asked_again(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = said(capsys, "generate", run, "decoder=vectors")
    assert code == 0 and out.strip() == str(run / "samples" / "vectors.txt")
    words, vectors = read_vectors(out.strip())
    assert torch.equal(vectors[1:], weights(run)["input.weight"][1:]) and words[:2] == ["<unk>", "."]
    asked = ("--prompt", "school", "--json")
    assert said(capsys, "generate", run, *asked)[1] == said(capsys, "generate", f"weights={out.strip()}", *asked)[1]


def test_glove_s_neighbours_are_of_the_sum_of_its_tables(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train(tmp_path / "run", *KINDS["glove"])
    assert said(capsys, "generate", tmp_path / "run", "decoder=vectors")[0] == 0
    found = weights(tmp_path / "run")
    _, vectors = read_vectors(tmp_path / "run" / "samples" / "vectors.txt")
    assert torch.equal(vectors[1:], (found["input.weight"] + found["output.weight"])[1:])


def test_training_may_begin_with_given_vectors(tmp_path: Path) -> None:
    write_vectors(tmp_path / "given.txt", ["school", "teacher"], torch.full((2, 8), 3.0))
    train(tmp_path / "run", *KINDS["skipgram"], f"weights={tmp_path / 'given.txt'}", "optim.lr=0")
    assert (weights(tmp_path / "run")["input.weight"] == 3).all(1).sum() == 2


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("--prompt", "schol"), 2, "no vector for 'schol'; did you mean 'school'"),
        (("--prompt", "school teacher"), 2, "neither a word nor a sum"),
        ((), 2, "there is nothing to look up"),
        (("--prompt", "school", "--stop", "x"), 2, "--stop"),
        (("--prompt", "school", "decoder=beam"), 2, "unknown name 'beam'"),
        (("--prompt", "school", "decoder.num=0"), 2, "num"),
        (("--prompt", "school", "decoder=vectors"), 2, "ask for neighbours"),
        (("--prompt", "school", "--attention", "a.png"), 2, "--attention"),
    ],
)
def test_wrong_questions(
    run: Path, words: tuple[str, ...], code: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    found, out, err = said(capsys, "generate", run, *words)
    assert (found, out) == (code, "") and message in err


def test_a_file_of_vectors_with_ragged_lines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "ragged.txt"
    path.write_text("a 1 2\nb 1\n")
    code, _, err = said(capsys, "generate", f"weights={path}", "--prompt", "a")
    assert code == 3 and "line 2: 1 components" in err
    code, _, err = said(capsys, "generate", f"weights={path}", "decoder=vectors")
    assert code == 2 and "below a run" in err


def test_an_empty_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "empty.txt"
    path.write_text("\n")
    for model in ("skipgram", "glove"):
        assert said(capsys, "train", f"model={model}", "data=text_file", f"data.path={path}")[0] == 3


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (("model=skipgram", "data=fashion_mnist_mini"), "no data for model 'skipgram'"),
        (("model=skipgram", "data=time_machine"), "no data for model 'skipgram'"),
        (("model=rnn_lm", "task=word_embedding"), "no task for model 'rnn_lm'"),
        (("model=skipgram", "task=glove"), "no task for model 'skipgram'"),
        (("model=glove", "task.loss=mse"), "weighted_least_squares"),
        (("model=skipgram", "task.loss=negative_samplin"), "did you mean 'negative_sampling'"),
        (("model=skipgram", "task.num_negatives=0"), "num_negatives"),
        (("model=skipgram", "data.window=0"), "window"),
        (("model=skipgram", "data.partition=sequential"), "partition"),
    ],
)
def test_wrong_configs(overrides: tuple[str, ...], message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        train(tmp_path / "run", *overrides)

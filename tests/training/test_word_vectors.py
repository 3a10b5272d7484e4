"""`weights=FILE.txt`: word vectors that become the first embeddings of a model, and stay so where they are frozen."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from runs import assert_equal, d2l, newest, outcome, resume, stop_at, train, weights

from d2lcli.__main__ import main
from d2lcli.data.tokenizers.base import read_state
from d2lcli.errors import ConfigError, DataError
from d2lcli.training.signals import Stopped

WORDS = ("fine", "good", "bad", "dull", "film", "the", "was", "Odd")
MODEL = (
    "model.embed_dim=3", "data=jsonl", "data.tokenizer=word", "data.batch_size=8", "hardware=cpu", "hardware.threads=1",
    "epochs=2", "optim.lr=0.01", "log_every=3",
)  # fmt: skip
CNN = ("model=textcnn", "model.kernel_sizes=[1,2]", "model.num_channels=[2,2]", *MODEL)
SMALL = {
    "textcnn": CNN,
    "birnn_classifier": ("model=birnn_classifier", "model.hidden_size=4", *MODEL),
    "decomposable_attention": ("model=decomposable_attention", "model.hidden=4", "data.pair=pair", *MODEL),
}


@pytest.fixture
def texts(tmp_path: Path) -> str:
    lines = [
        {"text": f"the film was {word} {number}", "pair": f"it was {word}", "label": ("no", "yes")[number % 2]}
        for number in range(20)
        for word in (("bad", "dull"), ("good", "Odd"))[number % 2]
    ]
    path = tmp_path / "texts.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return f"data.path={path}"


@pytest.fixture
def vectors(tmp_path: Path) -> str:
    """In fastText's form, with a header; of Odd in lower case, and of a special token, which no text has."""
    rows = {word.lower(): [i + 0.5, -i, 0.25 * i] for i, word in enumerate(WORDS)} | {"<cls>": [9, 9, 9]}
    lines = [f"{len(rows)} 3", *(f"{word} {' '.join(map(str, row))}" for word, row in rows.items())]
    path = tmp_path / "vectors.txt"
    path.write_text("".join(f"{line}\n" for line in lines))
    return f"weights={path}"


def rows_by_word(run: Path, key: str = "embedding") -> dict[str, list[float]]:
    tokens = read_state(run / "tokenizer.json")["tokens"]
    return dict(zip(tokens, weights(run)[f"{key}.weight"].tolist(), strict=True))


@pytest.mark.parametrize("name", SMALL)
def test_frozen_vectors_are_the_file_s_to_the_bit(name: str, tmp_path: Path, texts: str, vectors: str) -> None:
    result = train(tmp_path / "run", *SMALL[name], texts, vectors, "freeze=[embedding.*]")
    assert result["status"] == "finished"
    found = rows_by_word(tmp_path / "run")
    for i, word in enumerate(WORDS):
        if word in found:
            assert found[word] == [i + 0.5, -i, 0.25 * i]
    assert found["<unk>"] == found["<pad>"] == [0, 0, 0]
    assert found["<cls>"] not in ([9, 9, 9], [0, 0, 0])


def test_what_has_no_vector_has_the_spread_of_the_others(tmp_path: Path, texts: str, vectors: str) -> None:
    train(tmp_path / "run", *CNN, texts, vectors, "freeze=[embedding.*]")
    found = rows_by_word(tmp_path / "run")
    known = [row for word, row in found.items() if word in WORDS]
    drawn = [row for word, row in found.items() if word not in (*WORDS, "<unk>", "<pad>")]
    spreads = [torch.tensor(rows).square().mean().sqrt().item() for rows in (known, drawn)]
    assert len(known) == 7 and len(drawn) > 10
    assert spreads[0] == pytest.approx(spreads[1], rel=1e-5)


def test_they_are_trained_where_they_are_not_frozen(tmp_path: Path, texts: str, vectors: str) -> None:
    train(tmp_path / "run", *CNN, texts, vectors, "model.dual_embedding=true", "steps=1", "optim=sgd", "optim.lr=1e-4")
    moved, kept = (rows_by_word(tmp_path / "run", key) for key in ("embedding", "constant_embedding"))
    for i, word in enumerate(WORDS):
        if word in kept:
            assert kept[word] == [i + 0.5, -i, 0.25 * i]
            assert moved[word] == pytest.approx(kept[word], abs=1e-2)
    assert moved != kept


def test_the_second_table_is_never_trained(tmp_path: Path, texts: str) -> None:
    tables = []
    for steps in (1, 9):
        train(tmp_path / str(steps), *CNN, texts, "model.dual_embedding=true", f"steps={steps}")
        tables.append(weights(tmp_path / str(steps))["constant_embedding.weight"])
    assert torch.equal(*tables) and tables[0].std() > 0


def test_the_run_says_what_it_found(
    tmp_path: Path, texts: str, vectors: str, capsys: pytest.CaptureFixture[str]
) -> None:
    train(tmp_path / "run", *CNN, texts, vectors, quiet=False)
    said = capsys.readouterr().err
    tokens = read_state(tmp_path / "run" / "tokenizer.json")["tokens"]
    assert f"weights: 7 of {len(tokens) - 5} tokens, 80.0 % of the training text, have a vector of 3 numbers" in said
    assert "they fill embedding.weight" in said and "without, left as drawn:" in said
    facts = json.loads((tmp_path / "run" / "meta.json").read_text())["weights"]
    assert facts["found"] == 7 and facts["width"] == 3 and facts["running"] == 0.8 and len(facts["sha256"]) == 64


@pytest.mark.parametrize("name", SMALL)
def test_resume_is_exact(name: str, tmp_path: Path, texts: str, vectors: str, monkeypatch: pytest.MonkeyPatch) -> None:
    words = (*SMALL[name], texts, vectors, "model.dropout=0.4")
    train(tmp_path / "whole", *words)
    stop_at(monkeypatch, 4)
    with pytest.raises(Stopped):
        train(tmp_path / "cut", *words)
    assert newest(tmp_path / "cut").name.startswith("step-00000004")
    resume(tmp_path / "cut")
    assert_equal(tmp_path / "cut", outcome(tmp_path / "whole"))


BROKEN: dict[str, tuple[str, type[Exception], str]] = {
    "ragged": ("good 1 2 3\nbad 1 2\n", DataError, r"line 2: 2 components, but the lines before have 3"),
    "no number": ("good 1 x 3\n", DataError, "line 1: 'x' is no number"),
    "empty": ("", DataError, "no word vectors in it"),
    "another width": ("good 1 2\n", ConfigError, r"vectors of 2 numbers, but embedding of model 'textcnn' has 3"),
    "other words": ("ja 1 2 3\n", DataError, "no vector for any of the"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_files_that_do_not_fit(kind: str, tmp_path: Path, texts: str) -> None:
    content, error, said = BROKEN[kind]
    (tmp_path / "v.vec").write_text(content)
    with pytest.raises(error, match=said) as caught:
        train(tmp_path / "run", *CNN, texts, f"weights={tmp_path / 'v.vec'}")
    if kind == "another width":
        assert caught.value.hint == "set model.embed_dim=2"  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("model=lenet",), "word vectors fill the rows of one vocabulary, and this data has no vocabulary"),
        (("model=transformer",), "and this data has two"),
    ],
)
def test_models_that_have_no_place_for_them(words: tuple[str, ...], said: str, tmp_path: Path, vectors: str) -> None:
    with pytest.raises(ConfigError, match=said):
        train(tmp_path / "run", *words, vectors, "data.limit=20", "data.batch_size=4", "steps=1")


def test_the_width_of_a_bert_has_another_name(tmp_path: Path, texts: str, vectors: str) -> None:
    words: tuple[Any, ...] = ("task=classification", "data=jsonl", "data.tokenizer=word", texts, vectors, "steps=1")
    with pytest.raises(ConfigError, match=r"embedding\.tokens of model 'bert' has 256") as caught:
        train(tmp_path / "run", "model=bert", *words)
    assert caught.value.hint == "set model.dim=3"
    with pytest.raises(ConfigError, match="of model 'bert_tiny' has 128") as caught:
        train(tmp_path / "run", "model=bert_tiny", *words)
    assert caught.value.hint.startswith("this model has a fixed width")


def test_a_missing_file_is_noticed_first(tmp_path: Path, texts: str) -> None:
    done = d2l("train", *CNN, texts, f"weights={tmp_path / 'none.txt'}", "--run-dir", tmp_path / "run")
    assert done.returncode == 4 and "none.txt: there is no such file or folder" in done.stderr
    assert not (tmp_path / "run").exists()


def test_evaluation_has_an_interval_and_counts_by_class(
    tmp_path: Path, texts: str, vectors: str, capsys: pytest.CaptureFixture[str]
) -> None:
    train(tmp_path / "run", *CNN, texts, vectors)
    words = ["evaluate", str(tmp_path / "run"), "--split", "train", "task.metrics=[accuracy,confusion_matrix]"]
    assert main([*words, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    counts = torch.tensor(found["metrics"]["confusion_matrix"])
    assert counts.shape == (2, 2) and counts.sum() == found["examples"] == 36
    assert counts.diagonal().sum() / 36 == pytest.approx(found["metrics"]["accuracy"])
    low, high = found["intervals"]["accuracy"]
    assert low <= found["metrics"]["accuracy"] <= high
    assert main(words) == 0
    assert "95% interval" in (said := capsys.readouterr().out) and "row: true class" in said

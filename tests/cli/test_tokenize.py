"""`d2l tokenize` as its users meet it."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from d2lcli.__main__ import main
from d2lcli.commands.app import app

WORDS = ["fast_"] * 4 + ["faster_"] * 3 + ["tall_"] * 5 + ["taller_"] * 2


def run(*words: Any, stdin: str | None = None) -> str:
    found = CliRunner().invoke(app, ["tokenize", *map(str, words)], input=stdin)
    assert found.exit_code == 0, found.output
    return found.stdout


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    file = tmp_path / "words.txt"
    file.write_text("\n".join(WORDS * 20))
    return file


def test_one_trained_here_is_saved_and_used_again(corpus: Path, tmp_path: Path) -> None:
    saved = tmp_path / "deep" / "tokenizer.json"
    options = ("data=text_file", f"data.path={corpus}", "data.tokenizer={name: bpe, vocab_size: 270}")
    first = run(*options, "--text", "tallest_", "--save", saved).splitlines()
    assert first[0].split()[0].startswith("tall") and "".join(first[0].split()) == "tallest_"
    assert first[1] == str(saved)
    assert run(saved, "--text", "tallest_").splitlines() == first[:1]
    found = json.loads(run(saved, "--file", "-", "--json", stdin="tallest_\nfatter_\n"))
    assert found["tokenizer"] == "bpe" and 256 < found["size"] <= 270
    assert [each["decoded"] for each in found["texts"]] == ["tallest_", "fatter_"]
    ids = [str(number) for number in found["texts"][1]["ids"]]
    assert run(saved, "--text", "fatter_", "--ids").split() == ids


def test_a_published_vocabulary_is_read_from_its_file_or_folder(tmp_path: Path) -> None:
    vocabulary = tmp_path / "vocab.txt"
    vocabulary.write_text("[PAD]\nun\n##able\n##s\n[UNK]\n.\n")
    for path in (vocabulary, tmp_path):
        assert run(path, "--text", "Unables.").split() == ["un", "##able", "##s", "."]
        assert run(path, "--text", "un able.", "--ids").split() == ["1", "4", "5"]
    assert run(tmp_path).splitlines() == ["wordpiece: 6 tokens, special <pad> <unk>", "first: un ##able ##s ."]


def test_a_published_vocabulary_that_is_damaged(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "vocab.json").write_text("{}")
    assert main(["tokenize", str(tmp_path)]) == 3
    error = capsys.readouterr().err
    assert "there is no merges.txt beside it" in error and "give BERT's vocab.txt" in error


def test_without_text_it_tells_of_the_vocabulary() -> None:
    assert run().startswith("char: ")


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["data.tokenizer=bpee"], 2, "did you mean 'bpe'"),
        (["model=lenet"], 2, "has no text to cut"),
        (["nowhere.json"], 4, "is missing"),
        (["one", "two"], 2, "one run or tokenizer file at a time"),
        (["one", "data=botchan"], 2, "as it was trained"),
        (["--file", "nowhere.txt"], 3, "cannot be read"),
    ],
)
def test_mistakes(words: list[str], code: int, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tokenize", *words]) == code
    assert message in capsys.readouterr().err

"""Pairs of sentences: files that are not part of the package, so a few lines in their format stand for them."""

import hashlib
from pathlib import Path

import pytest
import torch

from d2lcli.data import sick as module
from d2lcli.data.examples import ExampleSplit
from d2lcli.data.sick import sick
from d2lcli.data.sources import SICK, DataFile, Source
from d2lcli.data.tokenizers.word import WordTokenizer
from d2lcli.errors import DataError

HEAD = "pair_ID\tsentence_A\tsentence_B\trelatedness_score\tentailment_judgment\n"
LINES = {
    "SICK_train.txt": "1\tA dog runs\tAn animal runs\t4.5\tENTAILMENT\n2\tA dog runs\tNo dog\t3.2\tCONTRADICTION\n",
    "SICK_trial.txt": "4\tA dog runs\tA dog eats\t3.6\tNEUTRAL\n",
    "SICK_test_annotated.txt": "6\tNo dog runs\tA dog runs\t2\tCONTRADICTION\r\n7\tA dog\tA dog\t5\tENTAILMENT\r\n",
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    files = []
    for name, lines in LINES.items():
        content = (HEAD + lines).encode()
        (tmp_path / name).write_bytes(content)
        files.append(DataFile(f"{name}.gz", len(content), hashlib.sha256(content).hexdigest()))
    monkeypatch.setattr(module, "SICK", Source("sick", tuple(files), "", folders=("sick",)))
    return str(tmp_path)


def test_three_files_are_three_splits(folder: str) -> None:
    data = sick(root=folder, tokenizer=WordTokenizer())
    assert data.classes == ("entailment", "contradiction", "neutral") and data.num_outputs == 3
    assert data.test is not None and len(data.files) == 3
    assert [split.targets.tolist() for split in (data.train, data.val, data.test)] == [[0, 1], [2], [1, 0]]
    assert isinstance(data.train, ExampleSplit) and isinstance(data.train.inputs, torch.Tensor) and data.tokenizer
    first = data.train.inputs[: int(data.train.lengths[0])].tolist()
    assert data.tokenizer.decode(first) == "<cls> A dog runs <sep> An animal runs <sep>"
    assert data.train.segments[: len(first)].tolist() == [0] * 5 + [1] * 4
    head = data.head(1)
    assert head.test is not None and (len(head.train), len(head.val), len(head.test)) == (1, 1, 1)


def test_relatedness_is_a_number(folder: str) -> None:
    data = sick(root=folder, tokenizer=WordTokenizer(), target="relatedness")
    assert data.classes == () and data.num_outputs == 1
    assert data.train.targets.dtype == torch.float32
    assert data.train.targets.tolist() == pytest.approx([4.5, 3.2])


def test_it_is_never_downloaded() -> None:
    assert SICK.url == "" and not SICK.embedded
    with pytest.raises(DataError, match="sick: not on this machine, and it is not downloaded") as caught:
        sick()
    assert "SICK_train.txt" in caught.value.hint and "fetch" not in caught.value.hint

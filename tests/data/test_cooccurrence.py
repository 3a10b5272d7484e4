"""Counts of pairs of words against plain loops."""

from collections import Counter
from pathlib import Path

import pytest
import torch

import d2lcli.data.cooccurrence as module
from d2lcli.data.cooccurrence import count_pairs, pair_splits
from d2lcli.data.corpora import botchan, text_file
from d2lcli.data.tokenizers.word import WordTokenizer
from d2lcli.data.words import WordOptions
from d2lcli.errors import DataError

V = 9


@pytest.mark.parametrize("block", [1 << 22, 7, 1])
@pytest.mark.parametrize("window", [1, 4])
@pytest.mark.parametrize("weighted", [True, False])
def test_counts_are_those_of_a_loop(window: int, weighted: bool, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BLOCK", block)
    generator = torch.Generator().manual_seed(window)
    words = torch.randint(V, (60,), generator=generator)
    lines = torch.randint(5, (60,), generator=generator).sort().values
    expected: Counter[tuple[int, int]] = Counter()
    for i in range(60):
        for j in range(max(0, i - window), min(60, i + window + 1)):  # j in the window around i
            if i != j and lines[i] == lines[j]:
                expected[int(words[i]), int(words[j])] += 1 / abs(i - j) if weighted else 1  # type: ignore[assignment]
    options = WordOptions(window=window, distance_weights=weighted)
    pairs, counts = count_pairs(words, lines, V, options)
    assert [tuple(pair) for pair in pairs.tolist()] == sorted(expected)
    assert counts.tolist() == pytest.approx([expected[pair] for pair in sorted(expected)], rel=1e-12)


def test_the_counts_of_a_validation_text_are_scaled() -> None:
    tokenizer = WordTokenizer()
    tokenizer.train(["a b c"])
    (train, val), counts = pair_splits(("a b a b\nc a", "a b"), tokenizer, WordOptions(window=1), "here")
    assert isinstance(val.inputs, torch.Tensor) and isinstance(train.inputs, torch.Tensor)
    sums = [split.targets.double().exp().sum().item() for split in (train, val)]
    assert sums == pytest.approx([8.0, 8.0])
    assert counts.tolist() == [0, 3, 2, 1]
    found = dict(zip(map(tuple, train.inputs.tolist()), train.targets.exp().tolist()))
    assert found == pytest.approx({(1, 2): 3.0, (2, 1): 3.0, (1, 3): 1.0, (3, 1): 1.0})


def test_the_novel_s_pairs() -> None:
    data = botchan(objective="cooccurrence")
    assert isinstance(data.train.inputs, torch.Tensor)
    assert data.train.inputs.shape == (len(data.train), 2) and data.train.targets.dtype == torch.float32
    assert data.train.inputs.min() > 0 and data.train.inputs.max() < data.num_outputs
    assert data.counts is not None and data.word_tests is not None


def test_words_that_never_meet(tmp_path: Path) -> None:
    path = tmp_path / "one.txt"
    path.write_text("one\n" * 40)
    with pytest.raises(DataError, match="no two known words meet in the train split"):
        text_file(path=str(path), objective="cooccurrence", tokenizer=WordTokenizer())

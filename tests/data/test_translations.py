"""Sentence pairs: how they are cleaned, batched and weighted."""

from pathlib import Path
from typing import Any

import pytest
import torch

from d2lcli.data.pairs import BOS, EOS, IGNORED, PAD, PairLoader
from d2lcli.data.translations import normalise, parallel_text, tatoeba_en_es_mini
from d2lcli.errors import DataError

WORDS = ("one", "two", "three", "four", "five")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "pairs.tsv"
    lines = [
        f"{WORDS[i % 5]} {'and ' * (i % 4)}{WORDS[i % 3]}\tuno {'y ' * (i % 3)}{WORDS[i % 5]} {i}" for i in range(67)
    ]
    path.write_text("\n".join(lines) + "\n")
    return path


def loader(file: Path, **options: Any) -> PairLoader:
    split = parallel_text(path=str(file)).train
    return PairLoader(split, **({"batch_size": 8, "seed": 0, "shuffle": True} | options))  # type: ignore[arg-type]


def test_the_book_s_cleaning() -> None:
    assert normalise("Go.\u202fHi, you!") == "go . hi , you !"
    assert normalise("\u00bfQu\u00e9 tal?") == "\u00bf qu\u00e9 tal ?"


def test_batches_begin_end_and_are_padded(file: Path) -> None:
    for source, lengths, inputs, targets in loader(file).batches(0):
        assert inputs[:, 0].eq(BOS).all() and inputs.shape == targets.shape
        for row, length in zip(source, lengths.tolist(), strict=True):
            assert row[length - 1] == EOS and row[length:].eq(PAD).all() and row[: length - 1].ne(PAD).all()
        kept = targets != IGNORED
        assert torch.equal(inputs[:, 1:][kept[:, 1:]], targets[:, :-1][kept[:, 1:]])
        ends = kept.sum(1) - 1
        assert targets.gather(1, ends[:, None]).eq(EOS).all()


def test_an_epoch_has_each_pair_once_and_depends_on_seed_and_epoch(file: Path) -> None:
    def pairs(epoch: int, **options: Any) -> list[tuple[int, ...]]:
        found = []
        for source, lengths, _, targets in loader(file, **options).batches(epoch):
            for row, length, target in zip(source.tolist(), lengths.tolist(), targets.tolist(), strict=True):
                found.append((*row[:length], *(token for token in target if token != IGNORED)))
        return found

    split = parallel_text(path=str(file)).train
    assert len(pairs(0)) == len(split) == 60
    assert pairs(0) == pairs(0) != pairs(1) != pairs(1, seed=5)
    assert sorted(pairs(0)) == sorted(pairs(1)) == sorted(pairs(0, batch_size=13)) == sorted(pairs(0, shuffle=False))


@pytest.mark.parametrize("start", [1, 4])
def test_starting_later_gives_the_tail(file: Path, start: int) -> None:
    whole = list(loader(file).batches(3))[start:]
    for one, other in zip(whole, loader(file).batches(3, start), strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_sizes_count_target_tokens_over_ranks(file: Path) -> None:
    ranks = [loader(file, rank=rank, world_size=2) for rank in range(2)]
    for index, parts in enumerate(zip(*(each.batches(2) for each in ranks), strict=True)):
        tokens = [int((batch[3] != IGNORED).sum()) for batch in parts]
        assert tokens == [each.local_size(index) for each in ranks]
        assert sum(tokens) == ranks[0].global_size(index)


def test_little_is_padding() -> None:
    split = tatoeba_en_es_mini().train
    batches = PairLoader(split, batch_size=128, seed=0, shuffle=True).batches(0)  # type: ignore[arg-type]
    places = filled = 0
    for source, lengths, _, _ in batches:
        places, filled = places + source.numel(), filled + int(lengths.sum())
    assert filled / places > 0.95


def test_sentences_are_cut_and_reversed(file: Path) -> None:
    short = parallel_text(path=str(file), num_steps=3)
    assert int(short.train.source_lengths.max()) == 3  # type: ignore[attr-defined]
    there, back = parallel_text(path=str(file)), parallel_text(path=str(file), reverse=True)
    assert back.tokenizer is not None and there.source_tokenizer is not None
    assert set(back.tokenizer.tokens) == set(there.source_tokenizer.tokens)


@pytest.mark.parametrize(
    ("text", "said"),
    [("one two\n", "line 1: not SOURCE, tab, TARGET"), ("", "no pairs"), ("a\tb\n", "training split empty")],
)
def test_bad_files(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "bad.tsv").write_text(text)
    with pytest.raises(DataError, match=said):
        parallel_text(path=str(tmp_path / "bad.tsv"))

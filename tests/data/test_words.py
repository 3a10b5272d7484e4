"""Texts for word embeddings: which words are kept, what windows hold, and that a position is the whole state."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from d2lcli.data.corpora import botchan, text_file
from d2lcli.data.loader import stream_generator
from d2lcli.data.tokenizers.word import WordTokenizer
from d2lcli.data.words import WordLoader, WordOptions, WordSplit, keep_probabilities, known_words, word_splits
from d2lcli.errors import DataError

W = 3
TEXT = "\n".join(" ".join(f"w{(7 * i + j * j) % 23}" for j in range(5 + i % 9)) for i in range(60))


def split_of(text: str = TEXT, subsample: float | None = None, num_steps: int = 8, **options: object) -> WordSplit:
    tokenizer = WordTokenizer()
    tokenizer.train([text])
    chosen = WordOptions(window=W, subsample=subsample, **options)  # type: ignore[arg-type]
    split = word_splits((text, text), tokenizer, num_steps, chosen, "here")[0][0]
    assert isinstance(split, WordSplit)
    return split


def loader(split: WordSplit, batch_size: int = 4, **options: object) -> WordLoader:
    return WordLoader(split, batch_size=batch_size, **({"seed": 5, "shuffle": True} | options))  # type: ignore[arg-type]


def test_a_frequent_word_is_kept_as_often_as_the_formula_says() -> None:
    """Within five standard deviations of n sqrt(t / f), for every word and over several epochs."""
    generator = torch.Generator().manual_seed(0)
    words = torch.multinomial(1 / torch.arange(1.0, 201.0), 200_000, replacement=True, generator=generator)
    counts = torch.bincount(words, minlength=200)
    keep = keep_probabilities(counts, 1e-3)
    shares = counts / 200_000
    discard = (1 - (1e-3 / shares).sqrt()).clamp(min=0)
    torch.testing.assert_close(keep, 1 - discard.double(), rtol=1e-5, atol=1e-6)
    assert 0 < (keep < 1).sum() < 200
    split = WordSplit(words, words, lines=torch.zeros_like(words), keep=keep, num_steps=32, window=2)
    for epoch in range(3):
        pieces, mask = split.cut(stream_generator(1, epoch, "words"))
        flat = pieces[:, 2:-2][mask.any(2)]  # a word in the one line has a neighbour at all times
        kept = torch.bincount(flat, minlength=200)
        bound = 5 * (counts * keep * (1 - keep)).sqrt()
        assert ((kept - counts * keep).abs() <= bound).all()


def test_every_word_is_kept_where_nothing_is_thinned_out() -> None:
    split = split_of()
    pieces, mask = split.cut(torch.Generator())
    assert torch.equal(pieces[:, W:-W].flatten()[: len(split.targets)], split.targets)
    assert len(pieces) == len(mask) == len(split) == -(-len(split.targets) // 8)
    assert not mask.flatten(0, 1)[len(split.targets) :].any()


@pytest.mark.parametrize("across", [False, True])
def test_windows_hold_neighbours_of_the_same_line(across: bool) -> None:
    split = split_of(across_lines=across)
    pieces, mask = split.cut(torch.Generator().manual_seed(4))
    words, lines, reaches = split.targets.tolist(), split.lines.tolist(), []
    for place in range(len(words)):
        row = mask[place // 8, place % 8].tolist()
        near = pieces[place // 8, place % 8 : place % 8 + 2 * W + 1].tolist()
        assert not row[W]
        reach = max((abs(j - W) for j in range(2 * W + 1) if row[j]), default=0)
        reaches.append(reach)
        for j in range(2 * W + 1):
            other = place + j - W
            inside = 0 <= other < len(words) and lines[other] == lines[place] and 0 < abs(j - W) <= reach
            assert row[j] == inside
            assert not row[j] or near[j] == words[other]
    assert (max(lines) > 0) is not across


def test_windows_are_drawn_for_each_word_from_one_to_the_largest() -> None:
    words = torch.ones(30_000, dtype=torch.int64)
    split = WordSplit(words, words, lines=words, keep=torch.ones(2, dtype=torch.float64), num_steps=100, window=4)
    _, mask = split.cut(torch.Generator().manual_seed(0))
    reach = mask.flatten(0, 1)[10:-10].sum(1) // 2
    counts = torch.bincount(reach, minlength=5)[1:]
    assert ((counts - len(reach) / 4).abs() <= 5 * (len(reach) * 3 / 16) ** 0.5).all()


def test_unknown_words_are_left_out_before_windows_are_drawn() -> None:
    tokenizer = WordTokenizer(2)
    tokenizer.train(["a b a b rare"])
    words, lines = known_words("a rare b\n\nrare\nb a", tokenizer, WordOptions())
    assert [tokenizer.tokens[number] for number in words.tolist()] == ["a", "b", "b", "a"]
    assert lines.tolist() == [0, 0, 3, 3]


def test_an_epoch_has_as_many_pieces_as_any_other_and_other_words() -> None:
    split = split_of(subsample=0.01)
    epochs = [split.cut(stream_generator(0, epoch, "words")) for epoch in range(4)]
    assert {pieces.shape for pieces, _ in epochs} == {(len(split), 8 + 2 * W)}
    assert not torch.equal(epochs[0][0], epochs[1][0])
    assert len(split) < len(split_of())


def copied(batches: object) -> list[tuple[Tensor, ...]]:
    return [tuple(part.clone() for part in batch) for batch in batches]  # type: ignore[attr-defined]


def same(one: list[tuple[Tensor, ...]], two: list[tuple[Tensor, ...]]) -> bool:
    return len(one) == len(two) and all(torch.equal(a, b) for x, y in zip(one, two) for a, b in zip(x, y))


def test_a_position_is_the_whole_state() -> None:
    split = split_of(subsample=0.01)
    before = torch.random.get_rng_state()
    whole = copied(loader(split).batches(3))
    assert same(copied(loader(split).batches(3, 2)), whole[2:])
    assert not same(copied(loader(split).batches(4)), whole)
    assert not same(copied(loader(split, seed=6).batches(3)), whole)
    assert torch.equal(torch.random.get_rng_state(), before)
    with pytest.raises(ValueError, match="start is 99"):
        next(loader(split).batches(0, 99))


def test_processes_part_a_batch() -> None:
    split = split_of()
    whole = copied(loader(split, 6).batches(1))
    parts = [copied(loader(split, 6, rank=rank, world_size=2).batches(1)) for rank in (0, 1)]
    for index, batch in enumerate(whole[: len(parts[0])]):
        for place in (0, 1):
            assert torch.equal(torch.cat([part[index][place] for part in parts]), batch[place])


def test_an_evaluation_is_the_same_for_every_run_and_batch_size() -> None:
    split = split_of(subsample=0.01)
    runs = [
        copied(loader(split, size, seed=seed, shuffle=False).batches(epoch))
        for size, seed, epoch in ((4, 5, 0), (5, 6, 7))
    ]
    for place in (0, 1):
        assert torch.equal(*(torch.cat([batch[place] for batch in run]) for run in runs))


def test_the_first_pieces_of_a_text() -> None:
    split = split_of()
    assert len(split.head(3)) == 3 and len(split.head(10**6)) == len(split)
    assert torch.equal(split.head(3).cut(torch.Generator())[0], split.cut(torch.Generator())[0][:3])


def test_the_novel_s_words() -> None:
    data = botchan(objective="words", num_steps=16)
    assert data.tokenizer is not None and data.counts is not None
    assert data.tokenizer.name == "lower_word" and len(data.counts) == len(data.tokenizer) == data.num_outputs
    assert data.counts[0] == 0 and data.counts.sum() == len(data.train.targets)
    assert data.counts[data.tokenizer.id_of("school")] == (data.train.targets == data.tokenizer.id_of("school")).sum()
    assert len(data.word_tests.rated["simlex999"].pairs) > 20
    assert int(data.train.lines.max()) == 0  # type: ignore[attr-defined]  # its lines are merely wrapped
    assert botchan(num_steps=16).word_tests is None


def test_bad_texts_and_options(tmp_path: Path) -> None:
    empty, odd = tmp_path / "empty.txt", tmp_path / "odd.txt"
    empty.write_text(" \n\n")
    odd.write_text("one two three four five six\n")
    with pytest.raises(DataError, match="the text is empty"):
        text_file(path=str(empty), objective="words")
    with pytest.raises(DataError, match="no token of the training text occurs min_freq=5 times"):
        text_file(path=str(odd), objective="words")
    with pytest.raises(DataError, match="the val split has 0 known words"):
        text_file(path=str(odd), objective="words", tokenizer=WordTokenizer())
    for options, message in (
        ({"window": 0}, "window is 0"),
        ({"subsample": 0.0}, "subsample is 0"),
        ({"partition": "sequential"}, "partition is sequential"),
        ({"num_steps": 0}, "num_steps is 0"),
    ):
        with pytest.raises(ValueError, match=message):
            botchan(objective="words", **options)  # type: ignore[arg-type]

"""Masked pairs of sentences: counts and shares of the paper, and batches that are a function of their position."""

from typing import Any

import pytest
import torch

from d2lcli.data.corpora import botchan
from d2lcli.data.marked import RESERVED, Marks, mark
from d2lcli.data.masked import IGNORED, MaskedLoader, MaskedSplit, documents, hide, masked_split
from d2lcli.data.tokenizers.word import WordTokenizer
from d2lcli.errors import DataError

SENTENCES = [f"w{i} w{i + 1} w{i + 2} w{i + 3} end." for i in range(60)]


def split(num_steps: int = 16, text: str = "") -> MaskedSplit:
    tokenizer = WordTokenizer(1, RESERVED)
    text = text or " ".join(SENTENCES)
    tokenizer.train([text])
    return masked_split(text, tokenizer, num_steps, "train", "")


def loader(shuffle: bool = True, **options: int) -> MaskedLoader:
    return MaskedLoader(split(), **{"batch_size": 8, "seed": 0} | options, shuffle=shuffle)  # type: ignore[arg-type]


def test_sentences_and_documents() -> None:
    text = 'One two. "Three four!" Five\nsix?\n\nSeven.\n \nEight nine'
    assert list(documents(text)) == [["One two.", '"Three four!', "Five six?"], ["Seven."], ["Eight nine"]]


def test_two_texts_between_marks() -> None:
    """Inventory L19, and a text that is too long loses the end of its longer part."""
    marks = Marks(pad=1, cls=2, sep=3, mask=4)
    assert mark(marks, [10, 11]) == ([2, 10, 11, 3], [0, 0, 0, 0])
    assert mark(marks, [10, 11], [12]) == ([2, 10, 11, 3, 12, 3], [0, 0, 0, 0, 1, 1])
    assert mark(marks, [10, 11, 12, 13], [14, 15], 7) == ([2, 10, 11, 3, 14, 15, 3], [0, 0, 0, 0, 1, 1, 1])
    assert mark(marks, [10, 11, 12], None, 4)[0] == [2, 10, 11, 3]


def test_15_percent_are_predicted_and_shown_80_10_10() -> None:
    """Inventory L20: round(.15 n), one at least, never a special token; the shares within 5 sigma."""
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(5, 1000, (4000, 40), generator=generator)
    lengths = torch.randint(4, 41, (4000,), generator=generator)
    tokens[:, 0], marks = 2, Marks(pad=1, cls=2, sep=3, mask=4)
    tokens[torch.arange(4000), lengths - 1] = 3
    tokens = tokens.masked_fill(torch.arange(40) >= lengths[:, None], 1)
    chosen, fate = torch.rand(2, 4000, 40, generator=generator).unbind()
    random = torch.randint(5, 1000, tokens.shape, generator=generator)
    shown, positions, labels = hide(tokens, marks, chosen, fate, random)
    kept = labels != IGNORED
    assert kept.sum(1).tolist() == [max(1, round(0.15 * (length - 2))) for length in lengths.tolist()]
    assert torch.equal(tokens.gather(1, positions)[kept], labels[kept]) and int(labels[kept].min()) >= 5
    changed = torch.zeros_like(tokens, dtype=torch.bool).scatter(1, positions, kept)
    assert torch.equal(shown[~changed], tokens[~changed])
    found = shown.gather(1, positions)[kept]
    n = len(found)
    masked, same = (found == 4).double().mean(), (found == labels[kept]).double().mean()
    for share, expected in ((masked, 0.8), (same, 0.1 + 0.1 / 995)):
        assert abs(share - expected) < 5 * (expected * (1 - expected) / n) ** 0.5
    places = positions[kept].double() / (lengths.repeat_interleave(kept.sum(1)) - 1)
    assert abs(places.mean() - 0.5) < 0.01  # every place is as likely


@pytest.mark.parametrize("share", [0.15, 0.4])
def test_a_data_set_s_share_is_predicted(share: float) -> None:
    data = botchan(objective="masked", mask_share=share, num_steps=64)
    for part, shuffle in ((data.train, True), (data.val, False)):
        tokens, _, lengths, _, labels, _, count = next(
            iter(MaskedLoader(part, batch_size=32, seed=0, shuffle=shuffle).batches(0))
        )
        expected = [max(1, round(share * (length - 3))) for length in lengths.tolist()]
        assert (labels != IGNORED).sum(1).tolist() == expected and len(tokens) == 32
        assert count.item() == pytest.approx(sum(expected) / 32)


def test_half_of_the_second_sentences_are_the_next_ones() -> None:
    """Inventory L21, within 5 sigma."""
    follows, where = [], loader()
    for epoch in range(100):
        for batch in where.batches(epoch):
            follows.append(batch[5].double())
    share = torch.cat(follows)
    expected = 0.5 + 0.5 / 60  # by chance a random piece is the next one
    assert abs(share.mean() - expected) < 5 * (0.25 / len(share)) ** 0.5


def test_what_is_said_to_follow_follows() -> None:
    pieces = split()
    starts = pieces.lengths.cumsum(0) - pieces.lengths
    for tokens, segments, lengths, positions, labels, follows, share in loader().batches(3):
        whole = tokens.scatter(1, positions, torch.where(labels == IGNORED, tokens.gather(1, positions), labels))
        assert torch.equal(share, (labels != IGNORED).sum() / len(tokens))
        for row, kinds, length, next_one in zip(whole, segments, lengths, follows):
            first, second = row[1 : int((kinds[:length] == 0).sum()) - 1], row[:length][kinds[:length] == 1][:-1]
            (place,) = (i for i, begin in enumerate(starts) if torch.equal(pieces.targets[begin : begin + 5], first))
            begin = int(starts[place + 1])
            assert torch.equal(pieces.targets[begin : begin + len(second)], second) == bool(next_one)


def equal(one: tuple[torch.Tensor, ...], other: tuple[torch.Tensor, ...]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_a_batch_is_a_function_of_its_position() -> None:
    whole = list(loader().batches(1))
    assert len(whole) == 8 and all(map(equal, whole[3:], loader().batches(1, 3)))
    assert not any(map(equal, whole, loader().batches(2)))
    halves = [list(loader(rank=rank, world_size=2).batches(1)) for rank in (0, 1)]
    for batch, *parts in zip(whole, *halves, strict=True):
        for i in range(6):
            assert torch.equal(torch.cat([part[i] for part in parts]), batch[i])
        assert all(torch.equal(part[6], batch[6]) for part in parts)


def test_an_evaluation_hides_the_same_for_every_seed_and_batch_size() -> None:
    def flat(**options: int) -> list[list[int]]:
        rows = []
        for tokens, _, lengths, *_ in loader(shuffle=False, **options).batches(0):
            rows += [row[:length].tolist() for row, length in zip(tokens, lengths)]
        return rows

    assert flat() == flat(seed=9, batch_size=59) and len(flat()) == 59


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"objective": "masked", "partition": "sequential"}, "not cut as windows"),
        ({"objective": "masked", "num_steps": 7}, "need at least 8"),
        ({"objective": "masked", "mask_share": 0.0}, "mask_share is 0.0; it must lie between 0 and 1"),
        ({"objective": "masked", "num_train": 9, "num_val": 9}, "whose next token is predicted"),
        ({"objective": "span_corruption", "partition": "sequential"}, "no state goes on"),
    ],
)
def test_options_that_do_not_go_together(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        botchan(**options)


def test_a_text_without_two_sentences_and_a_tokenizer_without_marks_are_refused() -> None:
    with pytest.raises(DataError, match="no two sentences"):
        split(text="only one sentence")
    tokenizer = WordTokenizer()
    tokenizer.train(["a b. c d."])
    with pytest.raises(DataError, match=r"has no token <pad>, <cls>, <sep>, <mask>"):
        masked_split("a b. c d.", tokenizer, 8, "train", "")

"""Texts as examples: how they are marked, cut, tagged, searched for answers, batched and weighted."""

import re
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor

from d2lcli.data.annotated import AnnotatedText, character_span, encoded, token_span
from d2lcli.data.examples import IGNORED, ExampleLoader, ExampleSplit
from d2lcli.data.marked import RESERVED, Marks, mark
from d2lcli.data.tokenizers.base import Tokenizer
from d2lcli.data.tokenizers.bpe import BPETokenizer
from d2lcli.data.tokenizers.char import CharTokenizer
from d2lcli.data.tokenizers.word import WordTokenizer
from d2lcli.data.tokenizers.wordpiece import WordPieceTokenizer
from d2lcli.errors import DataError
from d2lcli.tasks.losses import cross_entropy

TEXT = "the old man (born in 1904) saw an unknown dog, and the dog saw him."


def trained(tokenizer: Tokenizer, *texts: str) -> Tokenizer:
    new = tokenizer.renewed(RESERVED)
    new.train(texts)
    return new


def words_and_pieces() -> Tokenizer:
    """Of whole words, but `playing` and `dogs` are two pieces each."""
    tokenizer = trained(WordPieceTokenizer(200), *["the play ##ing dog cat"] * 9)
    tokens = [*tokenizer.special, "the", "play", "##ing", "dog", "##s", "cat", "."]
    tokenizer.load_state(tokenizer.state() | {"tokens": tokens, "counts": [0] * len(tokens)})
    return tokenizer


def split(kind: str = "label", n: int = 61, tokenizer: Tokenizer | None = None) -> ExampleSplit:
    """Texts of 1 to 9 words; the target of a text is a function of them."""
    texts = []
    for i in range(n):
        words = [f"w{(i * k) % 11}" for k in range(1, 2 + i % 9)]
        target: Any = {"label": i % 3, "number": i / 2, "answer": None if i % 4 == 0 else (0, len(words[0]))}.get(kind)
        pair = " ".join(words) if kind == "answer" else None
        if kind == "tags":
            texts.append(AnnotatedText(tuple(words), None, [(i + k) % 4 for k in range(len(words))]))
        else:
            texts.append(AnnotatedText("which" if pair else " ".join(words), pair, target))
    known = tokenizer or trained(WordTokenizer(), " ".join(f"w{i}" for i in range(11)), "which")
    return encoded(texts, kind, known, 32, "train", "here")  # type: ignore[arg-type]


def loader(examples: ExampleSplit, **options: Any) -> ExampleLoader:
    return ExampleLoader(examples, **({"batch_size": 8, "seed": 0, "shuffle": True} | options))


def copied(batches: Any) -> list[list[Tensor]]:
    return [[*(each.clone() for each in inputs), targets.clone()] for inputs, targets in batches]


# How texts are marked.


def test_a_text_and_a_pair_as_the_book_packs_them() -> None:
    """d2l 15.8: get_tokens_and_segments(["a", "b"], ["c"]) and the same of one text."""
    marks = Marks(pad=1, cls=2, sep=3, mask=4)
    assert mark(marks, [10, 11]) == ([2, 10, 11, 3], [0, 0, 0, 0])
    assert mark(marks, [10, 11], [12]) == ([2, 10, 11, 3, 12, 3], [0, 0, 0, 0, 1, 1])


def test_what_is_too_long_is_cut_from_the_end_of_the_longer_text() -> None:
    marks = Marks(1, 2, 3, 4)
    assert mark(marks, [10, 11, 12], [20], 6) == ([2, 10, 11, 3, 20, 3], [0, 0, 0, 0, 1, 1])
    assert mark(marks, [10], [20, 21, 22], 6) == ([2, 10, 3, 20, 21, 3], [0, 0, 0, 1, 1, 1])
    assert mark(marks, [10, 11, 12], None, 4) == ([2, 10, 11, 3], [0, 0, 0, 0])


def test_special_tokens_stand_wherever_the_tokenizer_has_them() -> None:
    examples = split(tokenizer=trained(WordTokenizer(), "w1 w2"))
    other = trained(WordTokenizer(), "w1 w2").renewed(("<bos>", *reversed(RESERVED)))
    other.train(["w1 w2"])
    moved = split(tokenizer=other)
    assert examples.pad == 1 and moved.pad == other.id_of("<pad>") == 5
    assert moved.inputs[0] == other.id_of("<cls>") == 4  # type: ignore[index]
    assert torch.equal(moved.lengths, examples.lengths)
    plain = WordTokenizer()
    plain.train(["w1"])
    with pytest.raises(DataError, match="no token <pad>, <cls>, <sep>, <mask>"):
        split(tokenizer=plain)


def test_the_first_piece_of_a_word_has_its_tag() -> None:
    tokenizer = words_and_pieces()
    text = AnnotatedText(("the", "dogs", "playing", "\u200b", "."), None, [4, 5, 6, 7, 8])
    examples = encoded([text], "tags", tokenizer, 32, "train", "here")
    assert isinstance(examples.inputs, Tensor)
    shown = [tokenizer.tokens[number] for number in examples.inputs]
    assert shown == ["<cls>", "the", "dog", "##s", "play", "##ing", "<unk>", ".", "<sep>"]
    no = IGNORED
    assert examples.targets.tolist() == [no, 4, 5, no, 6, no, 7, 8, no]
    cut = encoded([text], "tags", tokenizer, 6, "train", "here")
    assert cut.targets.tolist() == [no, 4, 5, no, 6, no]


def test_spaces_between_words_have_no_tag() -> None:
    text = AnnotatedText(("ab", "c"), None, [0, 1])
    no = IGNORED
    chars = encoded([text], "tags", trained(CharTokenizer(), "ab c"), 32, "train", "here")
    assert chars.targets.tolist() == [no, 0, no, no, 1, no]  # <cls> a b space c <sep>
    pairs = trained(BPETokenizer(264), "ab c ab c ab c")  # 5 special tokens, 256 bytes and 3 merges
    both = encoded([text], "tags", pairs, 32, "train", "here")
    assert isinstance(both.inputs, Tensor)
    assert pairs.decode(both.inputs[1:-1].tolist()) == "ab c"
    tagged = [pairs.decode([int(token)]) for token in both.inputs[both.targets != no]]
    assert [each.strip()[0] for each in tagged] == ["a", "c"]


@pytest.mark.parametrize("tokenizer", [WordPieceTokenizer(60), BPETokenizer(270), CharTokenizer()])
@pytest.mark.parametrize("answer", ["old man", "1904", "dog", "him", "the", "unknown dog", "(born in 1904)"])
def test_an_answer_is_found_among_the_tokens(tokenizer: Tokenizer, answer: str) -> None:
    tokenizer = trained(tokenizer, TEXT, "the dog saw the old man")
    begin = TEXT.find(answer)
    first, last = token_span(tokenizer, TEXT, begin, begin + len(answer))
    found = tokenizer.decode(tokenizer.encode(TEXT)[first : last + 1])
    assert found.replace(" ", "") == answer.replace(" ", "")


def test_the_place_of_an_answer_is_that_of_its_characters() -> None:
    tokenizer = trained(WordTokenizer(), TEXT)
    second = TEXT.rfind("dog")
    assert token_span(tokenizer, TEXT, second, second + 3) == (12, 12)
    assert token_span(tokenizer, TEXT, TEXT.find("1904"), TEXT.find("1904") + 4) == (5, 5)  # 1904) is one token


@pytest.mark.parametrize(
    "tokenizer", [WordTokenizer(), CharTokenizer(), BPETokenizer(300), WordPieceTokenizer(200, min_freq=1)]
)
def test_characters_of_tokens_are_those_that_the_tokens_are_of(tokenizer: Tokenizer) -> None:
    """For every word, and every two neighbours, whose tokens are theirs alone."""
    tokenizer = trained(tokenizer, TEXT, "the dog saw the old man")
    words = [(found.start(), found.end()) for found in re.finditer(r"\S+", TEXT)]
    for (begin, _), (_, end) in [*zip(words, words, strict=True), *pairwise(words)]:
        assert character_span(tokenizer, TEXT, *token_span(tokenizer, TEXT, begin, end)) == (begin, end)


def test_characters_of_pieces_of_words() -> None:
    tokenizer = words_and_pieces()
    text = " the dogs  playing."
    assert tokenizer.split(text) == ["the", "dog", "##s", "play", "##ing", "."]
    found = [text[slice(*character_span(tokenizer, text, number, number))] for number in range(6)]
    assert found == ["the", "dog", "s", "play", "ing", "."]
    assert text[slice(*character_span(tokenizer, text, 1, 4))] == "dogs  playing"


def test_an_answer_outside_of_the_window_is_at_cls() -> None:
    tokenizer = trained(WordTokenizer(), "who a b c d")
    text = AnnotatedText("who", "a b c d", (4, 7))  # c d
    targets = [
        encoded([each], "answer", tokenizer, most, "train", "here").targets.tolist()
        for each, most in ((text, 8), (text, 7), (text, 6), (replace(text, target=None), 8))
    ]
    # <cls> who <sep> a b c d <sep>: c d is at 5 and 6; one token less cuts the d off.
    assert targets == [[[5, 6]], [[0, 0]], [[0, 0]], [[0, 0]]]


# Batches.


@pytest.mark.parametrize("kind", ["label", "number", "tags", "answer"])
def test_batches_are_padded_and_typed(kind: str) -> None:
    examples = split(kind)
    shapes = {"tags": 2, "answer": 2}
    for (tokens, segments, lengths), targets in loader(examples).batches(0):
        assert tokens.shape == segments.shape == (len(lengths), int(lengths.max()))
        assert targets.ndim == shapes.get(kind, 1) and len(targets) == len(tokens)
        assert targets.dtype == (torch.float32 if kind == "number" else torch.int64)
        padding = torch.arange(tokens.shape[1]) >= lengths[:, None]
        assert torch.equal(tokens == examples.pad, padding) and segments[padding].eq(0).all()
        if kind == "tags":
            assert torch.equal(targets == IGNORED, padding | (tokens == 2) | (tokens == 3))
        if kind == "answer":
            first = (segments == 1).long().argmax(1)  # the answers are the first word of the second text
            assert torch.equal(targets, torch.where(targets[:, :1] > 0, first[:, None], 0).expand(-1, 2))


def rows(batches: list[list[Tensor]]) -> list[tuple[int, ...]]:
    return [
        (*tokens[:length].tolist(), int(target))
        for each in batches
        for tokens, length, target in zip(each[0], each[2], each[3])
    ]


def test_an_epoch_has_each_example_once_and_depends_on_seed_and_epoch() -> None:
    examples = split(n=60)

    def seen(epoch: int, **options: Any) -> list[tuple[int, ...]]:
        return rows(copied(loader(examples, **options).batches(epoch)))

    assert len(seen(0)) == 60 and seen(0) == seen(0) != seen(1) != seen(1, seed=5)
    assert sorted(seen(0)) == sorted(seen(1)) == sorted(seen(0, batch_size=13)) == sorted(seen(0, shuffle=False))
    assert isinstance(examples.inputs, Tensor)
    stored = [
        (*row.tolist(), int(target))
        for row, target in zip(examples.inputs.split(examples.lengths.tolist()), examples.targets)
    ]
    assert seen(0, shuffle=False) == stored


def test_batches_are_of_like_length_in_random_order() -> None:
    examples = split(n=800)
    batches = copied(loader(examples, batch_size=8).batches(0))
    filled = sum(int(each[2].sum()) for each in batches) / sum(each[0].numel() for each in batches)
    assert filled > 0.95
    widths = [each[0].shape[1] for each in batches]
    assert widths != sorted(widths) and widths != [each[0].shape[1] for each in copied(loader(examples).batches(1))]


@pytest.mark.parametrize("start", [1, 4, 7])
def test_starting_in_the_middle_gives_the_rest(start: int) -> None:
    examples = split("tags")
    whole = copied(loader(examples).batches(3))[start:]
    for one, other in zip(whole, copied(loader(examples).batches(3, start)), strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("kind", ["label", "tags"])
@pytest.mark.parametrize("world_size", [2, 3])
def test_the_parts_of_all_ranks_have_the_weights_of_the_whole_batch(kind: str, world_size: int) -> None:
    """As the loop weighs them: the mean of a part times its own size over that of all batches of an update."""
    examples, accumulate = split(kind), 2
    torch.manual_seed(0)
    logits = torch.randn(20, 4, dtype=torch.float64)  # of each token, or of the second one of a text

    def loss(tokens: Tensor, targets: Tensor) -> Tensor:
        if kind == "label":
            return cross_entropy(logits[tokens[:, 1]], targets, reduction="none")
        kept = targets != IGNORED
        return cross_entropy(logits[tokens[kept]], targets[kept], reduction="none")

    whole = [loss(tokens, targets) for tokens, _, _, targets in copied(loader(examples).batches(1))]
    ranks = [loader(examples, rank=rank, world_size=world_size) for rank in range(world_size)]
    parts = list(zip(*(copied(each.batches(1)) for each in ranks), strict=True))
    for start in range(0, len(whole), accumulate):
        group = range(start, min(start + accumulate, len(whole)))
        total = sum(ranks[0].global_size(index) for index in group)
        means = [
            loss(tokens, targets).mean() * each.local_size(index) / total
            for index in group
            for each, (tokens, _, _, targets) in zip(ranks, parts[index])
        ]
        torch.testing.assert_close(torch.stack(means).sum(), torch.cat([whole[index] for index in group]).mean())


def test_sizes_count_examples_or_tagged_tokens() -> None:
    tags, labels = loader(split("tags")), loader(split("label"))
    counts = [int((each[3] != IGNORED).sum()) for each in copied(tags.batches(0))]
    assert [tags.global_size(index) for index in range(len(tags))] == counts
    assert [labels.global_size(index) for index in range(len(labels))] == [8] * 7 + [5]


@pytest.mark.parametrize("kind", ["label", "number", "tags", "answer"])
def test_the_head_is_the_first_examples(kind: str) -> None:
    whole, head = split(kind), split(kind).head(5)
    first = copied(loader(whole, batch_size=5, shuffle=False).batches(0))[0]
    (only,) = copied(loader(head, batch_size=5, shuffle=False).batches(0))
    assert len(head) == 5 and all(torch.equal(a, b) for a, b in zip(first, only, strict=True))
    assert len(whole.head(1000)) == 61 and head.longest == int(whole.lengths[:5].max())

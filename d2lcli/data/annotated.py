"""From texts with annotations to a data set: splits, a tokenizer, marked tokens and their targets (d2l 16.6)."""

import re
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from d2lcli.data.dataset import Dataset
from d2lcli.data.examples import IGNORED, Example, ExampleSplit, Kind, example_split
from d2lcli.data.marked import RESERVED, Marks, mark
from d2lcli.data.masked import masked_split
from d2lcli.data.splitting import check_share, hash_order
from d2lcli.data.tokenizers.base import Tokenizer, fitted
from d2lcli.errors import DataError, clean

FEWEST = 5  # tokens of two texts of one token each, and their marks


@dataclass(frozen=True)
class AnnotatedText:
    """A text, or two, and what is to be learnt of it.

    Args:
        first: a text, or the words of one whose words are tagged.
        second: the other text of a pair; the one with the answer.
        target: a class; a number; a class for each word; or where in `second` the answer begins and ends, as offsets of
            characters, and None where there is none.
        line: of the file, for messages.
    """

    first: str | tuple[str, ...]
    second: str | None
    target: Any
    line: int = 0

    @property
    def texts(self) -> list[str]:
        """One or two."""
        first = self.first if isinstance(self.first, str) else " ".join(self.first)
        return [first] if self.second is None else [first, self.second]


@dataclass(frozen=True)
class ExampleOptions:
    """How texts become examples; `d2lcli.data.movie_snippets` explains the fields."""

    tokenizer: Tokenizer
    num_steps: int
    val_share: float = 0.1

    def __post_init__(self) -> None:
        check_share(self.val_share)
        if self.num_steps < FEWEST:
            raise ValueError(f"num_steps is {self.num_steps}; two texts and their marks need at least {FEWEST}")


def parted(texts: Sequence[AnnotatedText], val_share: float, place: str) -> dict[str, list[AnnotatedText]]:
    """A training and a validation part, decided by the hash of each text, and in its order.

    So the first texts, which `data.limit` takes, are of all classes also where the file is sorted by them.

    Raises:
        DataError: there is a single text.
    """
    order = hash_order(["\t".join(each.texts) for each in texts])
    count = max(1, round(val_share * len(order)))
    if count >= len(order):
        raise DataError(f"{clean(place)}: {len(order)} example leaves the training split empty")
    return {"train": [texts[row] for row in order[count:]], "val": [texts[row] for row in order[:count]]}


def annotated_dataset(
    name: str,
    parts: Mapping[str, Sequence[AnnotatedText]],
    kind: Kind,
    classes: Sequence[str],
    options: ExampleOptions,
    *,
    files: Mapping[str, str],
    place: str,
    found: str,
) -> Dataset:
    """The data set of a training, a validation and perhaps a test part.

    Args:
        parts: by their names: train, val, test.
        kind: of the targets.
        classes: their names, of labels and tags.
        files, found: see `Dataset`.
        place: where the texts came from, for messages.

    Raises:
        DataError: a tokenizer that was trained elsewhere has no special tokens.
    """
    tokenizer = fitted(options.tokenizer, RESERVED, [text for each in parts["train"] for text in each.texts])
    splits = {part: encoded(texts, kind, tokenizer, options.num_steps, part, place) for part, texts in parts.items()}
    num_outputs = {"number": 1, "answer": 2}.get(kind, len(classes))
    return Dataset(
        name, splits["train"], splits["val"], (options.num_steps,), num_outputs, tuple(classes),
        files=files, found=found, tokenizer=tokenizer, test=splits.get("test"),
    )  # fmt: skip


def masked_dataset(
    name: str,
    parts: Mapping[str, Sequence[AnnotatedText]],
    options: ExampleOptions,
    mask_share: float,
    *,
    files: Mapping[str, str],
    place: str,
    found: str,
) -> Dataset:
    """The same texts without what is to be learnt of them: some of their tokens are to be predicted, as BERT learns.

    Each part is one document, in whose order neighbouring texts follow each other; see `d2lcli.data.masked`.

    Args:
        parts, files, place, found: as in `annotated_dataset`.
        mask_share: of the tokens that are predicted.

    Raises:
        DataError: a tokenizer that was trained elsewhere has no special tokens, or a part is a single sentence.
    """
    texts = {part: [text for each in rows for text in each.texts] for part, rows in parts.items()}
    tokenizer = fitted(options.tokenizer, RESERVED, texts["train"])
    splits = {
        part: masked_split("\n".join(lines), tokenizer, options.num_steps, part, place, mask_share)
        for part, lines in texts.items()
    }
    return Dataset(
        name, splits["train"], splits["val"], (options.num_steps,), len(tokenizer),
        files=files, found=found, tokenizer=tokenizer, test=splits.get("test"),
    )  # fmt: skip


def encoded(
    texts: Sequence[AnnotatedText], kind: Kind, tokenizer: Tokenizer, num_steps: int, name: str, place: str
) -> ExampleSplit:
    """A split of texts, with a tokenizer that has been trained; see `annotated_dataset`."""
    marks = Marks.of(tokenizer)
    make = {"tags": _tagged, "answer": _answered}.get(kind, _whole)
    return example_split([make(each, tokenizer, marks, num_steps) for each in texts], kind, marks.pad, name, place)


def _whole(text: AnnotatedText, tokenizer: Tokenizer, marks: Marks, most: int) -> Example:
    """With one target for all of it."""
    first, *second = map(tokenizer.encode, text.texts)
    tokens, segments = mark(marks, first, second[0] if second else None, most)
    return Example(tokens, segments, text.target)


def _tagged(text: AnnotatedText, tokenizer: Tokenizer, marks: Marks, most: int) -> Example:
    """The first piece of a word has its tag, the others have none."""
    pieces: list[int] = []
    tags: list[int] = []
    for word, tag in zip(text.first, text.target, strict=True):
        before, own = word_pieces(tokenizer, word, first=not pieces)
        pieces += [*before, *own]
        tags += [IGNORED] * len(before) + [tag] + [IGNORED] * (len(own) - 1)
    tokens, segments = mark(marks, pieces, most=most)
    return Example(tokens, segments, [IGNORED, *tags[: len(tokens) - 2], IGNORED])


def word_pieces(tokenizer: Tokenizer, word: str, *, first: bool) -> tuple[list[int], list[int]]:
    """The tokens of the space before a word of a text, where space is a token by itself, and those of the word.

    A word of which the tokenizer keeps nothing is <unk>.
    """
    if first:
        before, own = [], tokenizer.encode(word)
    else:
        own, space = tokenizer.encode(f" {word}"), tokenizer.encode(" ")
        apart = len(space) if own[: len(space)] == space else 0
        before, own = own[:apart], own[apart:]
    return before, own or [tokenizer.id_of("<unk>")]


def _answered(text: AnnotatedText, tokenizer: Tokenizer, marks: Marks, most: int) -> Example:
    """The first and last token of the answer; both are <cls> where it is not, or not wholly, among the tokens."""
    question, context = map(tokenizer.encode, text.texts)
    tokens, segments = mark(marks, question, context, most)
    begin = segments.index(1)
    target = (0, 0)
    if text.target is not None:
        first, last = (begin + place for place in token_span(tokenizer, text.texts[1], *text.target))
        if first <= last < len(tokens) - 1:
            target = (first, last)
    return Example(tokens, segments, target)


def token_span(tokenizer: Tokenizer, text: str, begin: int, end: int) -> tuple[int, int]:
    """The first and the last token of a text that have characters from `begin` to `end` - 1 in them.

    A token is before `begin` where the text up to there has it, too, and so at the end.
    """
    whole, before, inside = (tokenizer.encode(each) for each in (text, text[:begin], text[:end]))
    last = _shared(whole, inside)
    return _shared(whole, before), last - (last == len(inside))


def character_span(tokenizer: Tokenizer, text: str, first: int, last: int) -> tuple[int, int]:
    """Where the characters of a text's tokens from `first` to `last` begin, without white space, and end."""
    whole = tokenizer.encode(text)
    words = [0, *(found.end() for found in re.finditer(r"\S+", text))]

    def done(count: int) -> int:
        """The fewest characters that have the first `count` tokens in them."""
        after = bisect_left(words, count, key=lambda end: _shared(whole, tokenizer.encode(text[:end])))
        if after == 0:
            return 0
        inside = range(words[after - 1] + 1, words[min(after, len(words) - 1)])
        return next(
            (end for end in inside if _shared(whole, tokenizer.encode(text[:end])) >= count),
            words[after] if after < len(words) else len(text),
        )

    begin, end = done(first), done(last + 1)
    return begin + len(text[begin:end]) - len(text[begin:end].lstrip()), end


def _shared(one: Sequence[int], other: Sequence[int]) -> int:
    """How many tokens they have in common at their beginnings."""
    return next((i for i, (a, b) in enumerate(zip(one, other)) if a != b), min(len(one), len(other)))

"""Texts for word embeddings: frequent words thinned out, a window drawn for each word (Mikolov et al., 2013; d2l 15.3).

Legend: L words of the text, V of the vocabulary, c pieces of a batch, t places of a piece, w the largest window.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from d2lcli.data.dataset import Split
from d2lcli.data.loader import Loader, part, stream_generator
from d2lcli.data.tokenizers.base import Tokenizer
from d2lcli.errors import DataError, clean
from d2lcli.nn.bands import around

EVALUATION = 0  # the seed of what chance decides in an evaluation, the same for every run
DEVIATIONS = 6  # an epoch has room for so many standard deviations more words than are expected to be kept
NONE = torch.empty(0)


@dataclass(frozen=True)
class WordOptions:
    """How a text becomes pairs of words.

    Args:
        window: w, words to each side that a window may have.
        subsample: t of `keep_probabilities`; None keeps all.
        across_lines: whether a window goes on into the next line, as in a text whose lines are merely wrapped.
        distance_weights: whether two words k apart are counted as 1 / k instead of 1, where meetings are counted.

    Raises:
        ValueError: a number out of range.
    """

    window: int = 5
    subsample: float | None = 1e-4
    across_lines: bool = False
    distance_weights: bool = True

    def __post_init__(self) -> None:
        if self.window < 1:
            raise ValueError(f"window is {self.window}; it must be at least 1")
        if self.subsample is not None and not 0 < self.subsample < math.inf:
            raise ValueError(f"subsample is {self.subsample}; it must be above 0, or null to keep all words")


@dataclass(frozen=True)
class WordSplit(Split):
    """The known words of a text, in pieces that follow each other without a gap.

    Which words are kept, and so where pieces begin, is drawn anew for each epoch; an epoch has the same number of
    pieces all the same, for which the last ones have empty places.

    Args:
        inputs: the words (L,), int64; `targets` are the same.
        lines: (L,) the number of the line of each.
        keep: (V,) float64, how likely each is kept.
        num_steps: t.
        window: w.
        limit: the first so many pieces; None for all.
    """

    lines: Tensor = NONE
    keep: Tensor = NONE
    num_steps: int = 32
    window: int = 5
    limit: int | None = None

    @cached_property
    def pieces(self) -> int:
        """Of an epoch, where there is no limit."""
        chances = self.keep[self.targets]
        mean, variance = chances.sum().item(), (chances * (1 - chances)).sum().item()
        return max(1, math.ceil((mean + DEVIATIONS * math.sqrt(variance)) / self.num_steps))

    def __len__(self) -> int:
        return self.pieces if self.limit is None else min(self.pieces, self.limit)

    def head(self, n: int) -> "WordSplit":
        """The first `n` pieces of the text."""
        return replace(self, limit=n)

    def cut(self, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """The pieces of an epoch.

        Returns:
            The words (n, t + 2w), w more at each end of a piece, a view; and which of the words around each place its
            window has (n, t, 2w + 1), bool.
        """
        t, w, room = self.num_steps, self.window, self.pieces * self.num_steps
        kept = torch.rand(len(self.targets), generator=generator, dtype=torch.float64) < self.keep[self.targets]
        words, lines = self.targets[kept][:room], self.lines[kept][:room]
        reach = torch.randint(1, w + 1, (len(words), 1), generator=generator)
        ends = torch.full((w,), -1)
        near = around(torch.cat([ends, lines, ends])[None], w)[0] == lines[:, None]  # (n, 2w + 1) in the same line
        distance = torch.arange(-w, w + 1).abs()
        mask = near & (distance <= reach) & (distance > 0)
        empty = room - len(words)
        mask = torch.cat([mask, mask.new_zeros(empty, 2 * w + 1)]).view(-1, t, 2 * w + 1)
        padded = torch.cat([words.new_zeros(w), words, words.new_zeros(empty + w)])
        return padded.unfold(0, t + 2 * w, t)[: len(self)], mask[: len(self)]


def keep_probabilities(counts: Tensor, subsample: float | None) -> Tensor:
    """How likely each word is kept: 1 - max(1 - sqrt(t / f), 0), with f its share of the text (d2l 15.3.2).

    Args:
        counts: (V,) how often each word occurs.
        subsample: t; None keeps all.

    Returns:
        (V,) float64.
    """
    shares = counts.double() / counts.sum()
    if subsample is None:
        return torch.ones_like(shares)
    return (subsample / shares).sqrt().clamp(max=1)


def known_words(text: str, tokenizer: Tokenizer, options: WordOptions) -> tuple[Tensor, Tensor]:
    """The words of a text that the vocabulary has, (L,), and the number of the line of each, (L,).

    The others are left out before windows are drawn, so that these reach over them.
    """
    unknown = tokenizer.vocabulary.unknown
    found: list[int] = []
    sizes: list[int] = []
    for line in text.splitlines():
        ids = [number for number in tokenizer.encode(line) if number != unknown]
        found += ids
        sizes.append(len(ids))
    lines = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes, dtype=torch.int64))
    return torch.tensor(found, dtype=torch.int64), lines * (not options.across_lines)


def word_splits(
    texts: Sequence[str], tokenizer: Tokenizer, num_steps: int, options: WordOptions, place: str
) -> tuple[list[Split], Tensor]:
    """The training and the validation split, and how often each word occurs in training (V,).

    Raises:
        DataError: a text has fewer than two known words.
    """
    parts = [known_words(text, tokenizer, options) for text in texts]
    counts = torch.bincount(parts[0][0], minlength=len(tokenizer))
    for name, (words, _) in zip(("train", "val"), parts):
        if len(words) < 2:
            raise DataError(
                f"{clean(place)}: the {name} split has {len(words)} known words, too few to have neighbours",
                "give a longer text, or a smaller min_freq: data.tokenizer={name: lower_word, min_freq: 1}",
            )
    keep = keep_probabilities(counts, options.subsample)
    splits: list[Split] = [
        WordSplit(
            words, words, name=name, source=place, lines=lines, keep=keep, num_steps=num_steps, window=options.window
        )
        for name, (words, lines) in zip(("train", "val"), parts)
    ]
    return splits, counts


class WordLoader(Loader):
    """Batches of words (c, t + 2w) and which of those around each place belong to its window (c, t, 2w + 1).

    What chance decides is a function of seed and epoch; in an evaluation it is the same for every run.
    """

    split: WordSplit
    _known: tuple[int, tuple[Tensor, Tensor]] = (-1, (NONE, NONE))  # an epoch, and its pieces

    def _open(self, device: torch.device, channels_last: bool, workers: int) -> None:
        self.device = device

    def batches(self, epoch: int, start: int = 0) -> Iterator[tuple[Tensor, ...]]:
        if not 0 <= start <= len(self):
            raise ValueError(f"start is {start}; the epoch has {len(self)} batches")
        words, mask = self._pieces(epoch if self.shuffle else 0)
        order = (self._order(epoch) if self.shuffle else torch.arange(len(self.split))).to(self.device)
        for index in range(start, len(self)):
            begin = index * self.batch_size
            low, high = part(self.global_size(index), self.rank, self.world_size)
            if high > low:
                rows = order[begin + low : begin + high]
                yield words[rows], mask.index_select(0, rows)

    def _pieces(self, epoch: int) -> tuple[Tensor, Tensor]:
        if self._known[0] != epoch:
            seed = self.seed if self.shuffle else EVALUATION
            words, mask = self.split.cut(stream_generator(seed, epoch, "words"))
            self._known = epoch, (words.to(self.device), mask.to(self.device))
        return self._known[1]

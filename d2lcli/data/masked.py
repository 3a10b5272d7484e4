"""Texts for BERT: pairs of sentences, some of whose tokens are to be predicted (Devlin et al., 2019; d2l 15.9).

Legend: b pairs of a batch, t tokens of the longest, p tokens that are predicted in the pair with the most.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from d2lcli.data.dataset import Split
from d2lcli.data.loader import Loader, part, stream_generator
from d2lcli.data.marked import Marks, mark
from d2lcli.data.tokenizers.base import Tokenizer
from d2lcli.errors import DataError, clean

IGNORED = -100  # the target of a place that is not predicted; torch's losses leave it out
SHARE = 0.15  # of the tokens that are predicted, in the paper
MASKED, KEPT = 0.8, 0.1  # of these: shown as <mask>, shown as they are; the rest is shown as a random token
EVALUATION = 0  # the seed of what chance decides in an evaluation, the same for every run
NONE = torch.empty(0, dtype=torch.int64)


@dataclass(frozen=True)
class MaskedSplit(Split):
    """Pieces of text, each a sentence or several, in their order.

    Args:
        inputs: the tokens of all pieces, one after the other; `targets` are the same.
        lengths: (m,) of each piece.
        first: (n,) the pieces that have a next one in their document: each begins an example.
        num_steps: the most tokens of an example.
        marks: ids of the special tokens.
        plain: (v,) ids of all others, from which random tokens are drawn.
        share: of the tokens that are predicted.
    """

    lengths: Tensor = NONE
    first: Tensor = NONE
    num_steps: int = 64
    marks: Marks | None = None
    plain: Tensor = NONE
    share: float = SHARE

    def __len__(self) -> int:
        return len(self.first)

    def head(self, n: int) -> "MaskedSplit":
        """The first `n` examples."""
        return replace(self, first=self.first[:n])


def masked_split(
    text: str, tokenizer: Tokenizer, num_steps: int, name: str, place: str, share: float = SHARE
) -> MaskedSplit:
    """A split of a text, with a tokenizer that has been trained.

    Raises:
        DataError: no two sentences follow each other.
    """
    tokens: list[int] = []
    lengths: list[int] = []
    first: list[int] = []
    for sentences in documents(text):
        pieces = list(_pieces([tokenizer.encode(sentence) for sentence in sentences], (num_steps - 3) // 2))
        first += range(len(lengths), len(lengths) + len(pieces) - 1)
        lengths += map(len, pieces)
        tokens += (number for piece in pieces for number in piece)
    if not first:
        raise DataError(f"{clean(place)}: the {name} split has no two sentences", "give a longer text")
    special = {tokenizer.id_of(token) for token in tokenizer.special}
    plain = torch.tensor([number for number in range(len(tokenizer)) if number not in special])
    flat = torch.tensor(tokens)
    return MaskedSplit(
        flat, flat, name=name, source=place, lengths=torch.tensor(lengths), first=torch.tensor(first),
        num_steps=num_steps, marks=Marks.of(tokenizer), plain=plain, share=share,
    )  # fmt: skip


def documents(text: str) -> Iterator[list[str]]:
    """The sentences of each document: what stands between empty lines, or the whole text where it has none."""
    for block in re.split(r"\n\s*\n", text):
        sentences = [each for each in re.split(r"(?<=[.!?])[\"')\]]*\s+", " ".join(block.split())) if each]
        if sentences:
            yield sentences


def _pieces(sentences: Sequence[Sequence[int]], most: int) -> Iterator[list[int]]:
    """Neighbouring sentences put together as long as they have `most` tokens at the most; a longer one is cut up."""
    piece: list[int] = []
    for sentence in sentences:
        if piece and len(piece) + len(sentence) > most:
            yield piece
            piece = []
        piece = [*piece, *sentence]
        while len(piece) > most:
            yield piece[:most]
            piece = piece[most:]
    if piece:
        yield piece


class MaskedLoader(Loader):
    """Batches of tokens (b, t), segments (b, t), lengths (b,), positions (b, p), labels (b, p), whether the second
    piece is the next one (b,), and the mean number of labels of an example, over all processes.

    With probability 1/2 the second piece is a random one instead of the next.  The split's share of an example's
    tokens, one at least, are predicted: 80 % of these are shown as <mask>, 10 % as a random token, 10 % as they are.
    What chance decides is a function of seed, epoch and batch, drawn for the whole batch of all processes; in an
    evaluation it is the same for every run and batch size.
    """

    split: MaskedSplit
    _chances: tuple[Tensor, ...] | None = None  # of an evaluation, for the whole split

    def _open(self, device: torch.device, channels_last: bool, workers: int) -> None:
        self.device = device
        self._starts = self.split.lengths.cumsum(0) - self.split.lengths

    def batches(self, epoch: int, start: int = 0) -> Iterator[tuple[Tensor, ...]]:
        if not 0 <= start <= len(self):
            raise ValueError(f"start is {start}; the epoch has {len(self)} batches")
        order = self._order(epoch) if self.shuffle else torch.arange(len(self.split))
        for index in range(start, len(self)):
            begin, size = index * self.batch_size, self.global_size(index)
            low, high = part(size, self.rank, self.world_size)
            if high > low:
                chances = self._chances_of(epoch, index, begin, size)
                yield self._batch(self.split.first[order[begin : begin + size]], chances, low, high)

    def _chances_of(self, epoch: int, index: int, begin: int, size: int) -> tuple[Tensor, ...]:
        """What chance decides for a global batch of `size` examples from the `begin`-th on."""
        if self.shuffle:
            return self._draw(size, stream_generator(self.seed, epoch, f"masking {index}"))
        if self._chances is None:
            self._chances = self._draw(len(self.split), stream_generator(EVALUATION, 0, "masking"))
        return tuple(each[begin : begin + size] for each in self._chances)

    def _draw(self, count: int, generator: torch.Generator) -> tuple[Tensor, ...]:
        """Whether the next piece follows (n,), another piece (n,); for each token (n, t) whether it is predicted, how
        it is shown, and a random token."""
        shape = (count, self.split.num_steps)
        follows = torch.rand(count, generator=generator) < 0.5
        other = torch.randint(len(self.split.lengths), (count,), generator=generator)
        chosen, fate = (torch.rand(shape, generator=generator) for _ in range(2))
        random = self.split.plain[torch.randint(len(self.split.plain), shape, generator=generator)]
        return follows, other, chosen, fate, random

    def _batch(self, rows: Tensor, chances: tuple[Tensor, ...], low: int, high: int) -> tuple[Tensor, ...]:
        """The examples `low` to `high` - 1 of a global batch whose first pieces are `rows`."""
        marks, (follows, other, *more) = self.split.marks, chances
        assert marks is not None
        follows = follows | (other == rows + 1)
        seconds = torch.where(follows, rows + 1, other)
        pairs = [mark(marks, self._piece(a), self._piece(b), self.split.num_steps) for a, b in zip(rows, seconds)]
        lengths = torch.tensor([len(tokens) for tokens, _ in pairs])
        width = int(lengths.max())
        tokens = _padded([tokens for tokens, _ in pairs], width, marks.pad)
        segments = _padded([segments for _, segments in pairs], width, 0)
        chosen, fate, random = (each[:, :width] for each in more)
        shown, positions, labels = hide(tokens, marks, chosen, fate, random, self.split.share)
        count = (labels != IGNORED).sum() / len(rows)
        own = (each[low:high] for each in (shown, segments, lengths, positions, labels, follows.long()))
        return *(each.to(self.device) for each in own), count.to(self.device)

    def _piece(self, number: Tensor) -> list[int]:
        begin = int(self._starts[number])
        found: list[int] = self.split.targets[begin : begin + int(self.split.lengths[number])].tolist()
        return found


def hide(
    tokens: Tensor, marks: Marks, chosen: Tensor, fate: Tensor, random: Tensor, share: float = SHARE
) -> tuple[Tensor, Tensor, Tensor]:
    """Choose the tokens that are to be predicted, and how they are shown.

    Args:
        tokens: (b, t).
        marks: ids of the special tokens, which are never chosen.
        chosen: (b, t) uniform numbers; those of a row's tokens with the smallest are chosen.
        fate: (b, t) uniform numbers: below .8 a chosen token is shown as <mask>, below .9 as it is, else as another.
        random: (b, t) tokens to show then.
        share: of a row's tokens that are chosen.

    Returns:
        The tokens as they are shown (b, t), the chosen places (b, p), and what stands there (b, p); where a row has
        fewer than p, IGNORED.
    """
    free = ~torch.isin(tokens, torch.tensor([marks.pad, marks.cls, marks.sep]))
    counts = (share * free.sum(1)).round().long().clamp(min=1)
    positions = chosen.masked_fill(~free, 2.0).argsort(1)[:, : int(counts.max())]
    wanted = torch.arange(positions.shape[1]) < counts[:, None]
    originals = tokens.gather(1, positions)
    fate, random = fate.gather(1, positions), random.gather(1, positions)
    new = torch.where(fate < MASKED, torch.full_like(originals, marks.mask), random)
    new = torch.where((fate >= MASKED) & (fate < MASKED + KEPT), originals, new)
    shown = tokens.scatter(1, positions, torch.where(wanted, new, originals))
    return shown, positions, originals.masked_fill(~wanted, IGNORED)


def _padded(rows: Sequence[Sequence[int]], width: int, filler: int) -> Tensor:
    return torch.tensor([[*row, *[filler] * (width - len(row))] for row in rows])

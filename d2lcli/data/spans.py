"""Texts for T5: spans of tokens are cut out, and the model writes them down (Raffel et al., 2020; d2l 11.9).

Legend: b windows of a batch, T tokens of a window, S source tokens, U target tokens.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from d2lcli.data.loader import part, stream_generator
from d2lcli.data.pairs import BOS, EOS, RESERVED
from d2lcli.data.windows import TextSplit, WindowLoader

SENTINELS = 100  # as many as T5 has
FIRST_SENTINEL = 1 + len(RESERVED)  # their first id
SPAN_RESERVED = (*RESERVED, *(f"<extra_id_{i}>" for i in range(SENTINELS)))
SHARE = 0.15  # of the tokens that are cut out
MEAN_LENGTH = 3  # of a span
EVALUATION = 0  # the seed of what chance decides in an evaluation, the same for every run


def span_sizes(num_steps: int) -> tuple[int, int]:
    """How many tokens of a window are cut out, and in how many spans: 15 %, in spans of 3 on average."""
    noise = min(max(round(SHARE * num_steps), 1), num_steps - 1)
    return noise, min(max(round(noise / MEAN_LENGTH), 1), num_steps - noise)


@dataclass(frozen=True)
class SpanSplit(TextSplit):
    """A text as tokens, read in windows out of which spans are cut."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.num_steps < 2:
            raise ValueError(f"num_steps is {self.num_steps}; spans are cut out of at least 2 tokens")
        if span_sizes(self.num_steps)[1] >= SENTINELS:
            raise ValueError(f"num_steps is {self.num_steps}, more than {SENTINELS} sentinels can mark spans in")

    @property
    def longest(self) -> int:
        """Tokens of a source or target, end token included."""
        noise, spans = span_sizes(self.num_steps)
        return max(self.num_steps - noise + spans, noise + spans + 1) + 1

    def head(self, n: int) -> "SpanSplit":
        """The first `n` windows."""
        return span_split(super().head(n))


def span_split(split: TextSplit) -> SpanSplit:
    """The windows of a text, for span corruption."""
    return SpanSplit(
        split.inputs, split.targets, name=split.name, source=split.source, num_steps=split.num_steps,
        partition=split.partition,
    )  # fmt: skip


class SpanLoader(WindowLoader):
    """Batches of source (b, S), its lengths (b,), target input (b, U) from <bos> on, and targets (b, U).

    The source is the window with a sentinel in place of each span, and the end token; the target is each sentinel with
    its span, one more sentinel, and the end token.  All windows have as many tokens cut out, so nothing is padded.
    """

    split: SpanSplit
    _evaluated: Tensor | None = None  # which tokens are cut out in an evaluation, for the whole split

    def _open(self, device: torch.device, channels_last: bool, workers: int) -> None:
        """The text stays on the CPU, where spans are cut out: a batch is sent to the device, and never read back."""
        super()._open(torch.device("cpu"), channels_last, workers)
        self.device = device

    def batches(self, epoch: int, start: int = 0) -> Iterator[tuple[Tensor, ...]]:
        if not 0 <= start <= len(self):
            raise ValueError(f"start is {start}; the epoch has {len(self)} batches")
        for index in range(start, len(self)):
            begin, size = index * self.batch_size, self.global_size(index)
            low, high = part(size, self.rank, self.world_size)
            if high > low:
                noise = self._noise(epoch, index, begin, size)[low:high]
                windows = self.tokens[self._starts(epoch)[begin + low : begin + high, None] + self.steps[:-1]]
                yield self._corrupted(windows, noise)

    def _noise(self, epoch: int, index: int, begin: int, size: int) -> Tensor:
        """Which tokens (b, T) of a global batch are cut out."""
        if self.shuffle:
            return draw_spans(size, self.split.num_steps, stream_generator(self.seed, epoch, f"spans {index}"))
        if self._evaluated is None:
            generator = stream_generator(EVALUATION, 0, "spans")
            self._evaluated = draw_spans(len(self.split), self.split.num_steps, generator)
        return self._evaluated[begin : begin + size]

    def _corrupted(self, windows: Tensor, noise: Tensor) -> tuple[Tensor, ...]:
        source, targets = cut_out(windows, noise), cut_out(windows, ~noise)
        last = FIRST_SENTINEL + span_sizes(self.split.num_steps)[1]
        ends = torch.tensor([[last, EOS]]).expand(len(windows), 2)
        source, targets = torch.cat([source, ends[:, 1:]], 1), torch.cat([targets, ends], 1)
        inputs = torch.cat([torch.full((len(windows), 1), BOS), targets[:, :-1]], 1)
        lengths = torch.full((len(windows),), source.shape[1])
        return source.to(self.device), lengths, inputs.to(self.device), targets.to(self.device)


def draw_spans(count: int, num_steps: int, generator: torch.Generator) -> Tensor:
    """Which tokens are cut out, as True: (count, T), each row a kept run first, then a cut one, and so on in turns.

    The lengths of the cut runs, and of the kept ones, are a random composition: all ways to part them are as likely.
    """
    noise, spans = span_sizes(num_steps)
    cut, kept = (_parts(count, total, spans, generator) for total in (noise, num_steps - noise))
    edges = torch.stack([kept, cut], 2).flatten(1).cumsum(1)  # (count, 2 spans): where each run ends
    places = torch.arange(num_steps).expand(count, -1).contiguous()
    return torch.searchsorted(edges, places, right=True) % 2 == 1


def _parts(count: int, total: int, parts: int, generator: torch.Generator) -> Tensor:
    """Each row `parts` numbers of at least 1 that add up to `total`: (count, parts)."""
    order = torch.rand(count, total - 1, generator=generator).argsort(1)[:, : parts - 1] + 1
    edges = torch.cat([torch.zeros(count, 1), order.sort(1).values, torch.full((count, 1), total)], 1)
    return edges.diff(dim=1).long()


def cut_out(windows: Tensor, cut: Tensor) -> Tensor:
    """The windows (b, T) with one sentinel in place of each run of cut tokens, the first run's sentinel first.

    Args:
        windows: tokens.
        cut: (b, T), True for tokens that are left out; all rows have as many runs and as many such tokens.
    """
    begins = cut & ~torch.cat([torch.zeros_like(cut[:, :1]), cut[:, :-1]], 1)
    sentinel = FIRST_SENTINEL + begins.long().cumsum(1) - 1
    shown = torch.where(begins, sentinel, windows)
    return shown[~cut | begins].view(len(windows), -1)

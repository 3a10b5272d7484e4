"""Windows of a long sequence of tokens as batches (d2l 9.3): overlapping, disjoint in random order, or as streams.

Legend: L tokens of the text, T tokens of a window, n windows of an epoch, b windows of a batch.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from d2lcli.data.dataset import Split
from d2lcli.data.loader import Loader, part, stream_generator
from d2lcli.errors import DataError, clean

Partition = Literal["random", "sequential", "overlapping"]
EVAL_STREAMS = 16  # of a sequential split: a number of its own, so that no batch size changes what is measured


@dataclass(frozen=True)
class TextSplit(Split):
    """A text as tokens, read in windows; each is an example: T tokens, and as targets those that follow each.

    Args:
        inputs: the tokens (L,), int64; `targets` are the same.
        num_steps: T.
        partition: random: disjoint windows in random order, after a random offset that changes each epoch.
            sequential: b streams side by side, each window going on where the one in the batch before ended.
            overlapping: a window from every token on, in random order.

    Raises:
        DataError: the text is shorter than one window.
    """

    num_steps: int = 32
    partition: Partition = "random"

    def __post_init__(self) -> None:
        if len(self) < 1:
            raise DataError(
                f"{clean(self.source) or 'the text'}: {len(self.targets)} tokens for the {self.name} split, too few "
                f"for windows of num_steps={self.num_steps}",
                "give a longer text, or a smaller data.num_steps",
            )

    @property
    def shifts(self) -> bool:
        """Whether each epoch of training begins at another offset."""
        return self.partition != "overlapping" and self.name == "train"

    def __len__(self) -> int:
        size, steps = len(self.targets), self.num_steps
        if self.partition == "overlapping":
            return max(0, size - steps)
        return max(0, (size - steps if self.shifts else size - 1) // steps)

    def head(self, n: int) -> "TextSplit":
        """The first `n` windows, or all where there are fewer."""
        if n >= len(self):
            return self
        if self.partition == "overlapping":
            length = n + self.num_steps
        else:
            length = (n + 1) * self.num_steps if self.shifts else n * self.num_steps + 1
        return text_split(self.targets[:length], self.num_steps, self.partition, self.name, self.source)


def text_split(tokens: Tensor, num_steps: int, partition: Partition, name: str, source: str) -> TextSplit:
    """A split of a text from its tokens (L,)."""
    return TextSplit(tokens, tokens, name=name, source=source, num_steps=num_steps, partition=partition)


class WindowLoader(Loader):
    """Batches (b, T) of inputs and of targets; those of streams come with whether they go on from the batch before."""

    split: TextSplit
    _known: tuple[int, Tensor] = (-1, torch.empty(0))  # an epoch, and where its windows begin

    def _open(self, device: torch.device, channels_last: bool, workers: int) -> None:
        self.tokens = self.split.targets.to(device)
        self.steps = torch.arange(self.split.num_steps + 1, device=device)
        self.streams = self.split.partition == "sequential"
        if self.streams:  # every batch is whole: what is left at the end of the text is left out
            self.rows = self.batch_size if self.shuffle else min(EVAL_STREAMS, len(self.split))
            self.full, self.tail = len(self.split) // self.rows, 0
            self.batch_size = self.rows

    def batches(self, epoch: int, start: int = 0) -> Iterator[tuple[Tensor, ...]]:
        if not 0 <= start <= len(self):
            raise ValueError(f"start is {start}; the epoch has {len(self)} batches")
        low, high = part(self.batch_size, self.rank, self.world_size)
        for index in range(start, len(self)):
            rows = self._starts(epoch)[index * self.batch_size :][: self.global_size(index)]
            if not self.streams:
                low, high = part(len(rows), self.rank, self.world_size)
            if high > low:
                yield self._cut(rows[low:high], index)

    def _cut(self, starts: Tensor, index: int) -> tuple[Tensor, ...]:
        windows = self.tokens[starts[:, None] + self.steps]  # (b, T + 1)
        pair = windows[:, :-1], windows[:, 1:]
        return (*pair, index > 0) if self.streams else pair  # type: ignore[return-value]

    def _starts(self, epoch: int) -> Tensor:
        """Where each window of an epoch begins, batch after batch."""
        if self._known[0] != epoch:
            self._known = epoch, self._plan(epoch)
        return self._known[1]

    def _plan(self, epoch: int) -> Tensor:
        split, count = self.split, len(self.split)
        stride = 1 if split.partition == "overlapping" else split.num_steps
        offset = 0
        if split.shifts and self.shuffle:
            drawn = stream_generator(self.seed, epoch, "offset")
            offset = int(torch.randint(split.num_steps, (1,), generator=drawn))
        starts = offset + stride * torch.arange(count)
        if self.streams:
            starts = starts[: self.full * self.rows].view(self.rows, self.full).T.reshape(-1)
        elif self.shuffle:
            starts = starts[torch.randperm(count, generator=stream_generator(self.seed, epoch, "permutation"))]
        return starts.to(self.tokens.device)

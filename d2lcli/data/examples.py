"""Texts with what is to be learnt of each, as batches for an encoder: of like length, padded to the longest.

Legend: n examples, b of a batch, t tokens of the longest, N tokens of all.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor

from d2lcli.data.buckets import BucketLoader, padded
from d2lcli.data.dataset import Split

Kind = Literal["label", "number", "tags", "answer"]
IGNORED = -100  # the target of a token that has no tag of its own; torch's losses leave it out
NONE = torch.empty(0, dtype=torch.int64)


@dataclass(frozen=True)
class Example:
    """One text, or two, as tokens.

    Args:
        tokens, segments: see `d2lcli.data.marked.mark`.
        target: a class, a number, a class for each token or IGNORED, or the first and the last token of the answer.
    """

    tokens: Sequence[int]
    segments: Sequence[int]
    target: Any


@dataclass(frozen=True)
class ExampleSplit(Split):
    """Examples of different lengths.

    Args:
        inputs: (N,) tokens of all examples, one after the other.
        targets: of labels int64 (n,), of numbers float32 (n,), of tags int64 (N,), of answers int64 (n, 2): their first
            and last token, both 0 where the text has no answer.
        segments: (N,) 0 or 1, which text of a pair each token belongs to.
        lengths: (n,) tokens of each example.
        kind: what the targets are.
        pad: the token after the end of an example.
    """

    segments: Tensor = NONE
    lengths: Tensor = NONE
    kind: Kind = "label"
    pad: int = 0

    def __len__(self) -> int:
        return len(self.lengths)

    @property
    def longest(self) -> int:
        """Tokens of the longest example."""
        return int(self.lengths.max()) if len(self) else 0

    @property
    def counts(self) -> Tensor:
        """(n,) what the loss of a batch is a mean over: its examples, or the tagged tokens of each."""
        if self.kind != "tags":
            return torch.ones_like(self.lengths)
        owner = torch.repeat_interleave(torch.arange(len(self)), self.lengths)
        return torch.bincount(owner[self.targets != IGNORED], minlength=len(self))

    def head(self, n: int) -> "ExampleSplit":
        """The first `n` examples."""
        lengths = self.lengths[:n]
        end = int(lengths.sum())
        return replace(
            self,
            inputs=self.inputs[:end],  # type: ignore[index]
            targets=self.targets[: end if self.kind == "tags" else n],
            segments=self.segments[:end],
            lengths=lengths,
        )


def example_split(examples: Sequence[Example], kind: Kind, pad: int, name: str, place: str) -> ExampleSplit:
    """A split of examples; see `ExampleSplit`."""
    tokens, segments = (
        torch.tensor([number for row in rows for number in row], dtype=torch.int64)
        for rows in ([example.tokens for example in examples], [example.segments for example in examples])
    )
    found = [example.target for example in examples]
    if kind == "tags":
        found = [tag for tags in found for tag in tags]
    targets = torch.tensor(found, dtype=torch.float32 if kind == "number" else torch.int64)
    lengths = torch.tensor([len(example.tokens) for example in examples], dtype=torch.int64)
    return ExampleSplit(
        tokens, targets, name=name, source=place, segments=segments, lengths=lengths, kind=kind, pad=pad
    )


class ExampleLoader(BucketLoader):
    """Batches of (tokens (b, t), segments (b, t), lengths (b,)) and targets: (b,), of tags (b, t), of answers (b, 2).

    A batch counts its examples; of tags it counts the tagged tokens, so that accumulated or distributed parts have the
    weight of their tokens.
    """

    split: ExampleSplit

    def _open(self, device: torch.device, channels_last: bool, workers: int) -> None:
        self.device = device
        self.keys, self.counts = self.split.lengths, self.split.counts
        self._starts = self.split.lengths.cumsum(0) - self.split.lengths

    def _batch(self, rows: Tensor) -> tuple[tuple[Tensor, ...], Tensor]:
        split, lengths, starts = self.split, self.split.lengths[rows], self._starts[rows]
        assert isinstance(split.inputs, Tensor)
        tokens = padded(split.inputs, starts, lengths, split.pad)
        segments = padded(split.segments, starts, lengths, 0)
        tags = split.kind == "tags"
        targets = padded(split.targets, starts, lengths, IGNORED) if tags else split.targets[rows]
        return tuple(each.to(self.device) for each in (tokens, segments, lengths)), targets.to(self.device)

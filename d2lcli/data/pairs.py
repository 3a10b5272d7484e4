"""Pairs of sentences as batches: of like length, padded to the longest (d2l 10.5).

Legend: b pairs of a batch, S source tokens, T target tokens.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from d2lcli.data.buckets import BucketLoader, padded
from d2lcli.data.dataset import Split

RESERVED = ("<pad>", "<bos>", "<eos>")
PAD, BOS, EOS = 1, 2, 3  # their ids, after <unk>
IGNORED = -100  # the target of a place beyond the end; torch's losses leave it out
NONE = torch.empty(0, dtype=torch.int64)


@dataclass(frozen=True)
class PairSplit(Split):
    """Sentence pairs.

    Args:
        inputs: source tokens, one sentence after the other, each with its end token.
        targets: target tokens likewise.
        source_lengths, target_lengths: (n,) of each sentence, end token included.
    """

    source_lengths: Tensor = NONE
    target_lengths: Tensor = NONE

    def __len__(self) -> int:
        return len(self.source_lengths)

    @property
    def longest(self) -> int:
        """Tokens of the longest sentence, end token included."""
        return int(torch.cat([self.source_lengths, self.target_lengths]).max()) if len(self) else 0

    def head(self, n: int) -> "PairSplit":
        """The first `n` pairs."""
        source, target = self.source_lengths[:n], self.target_lengths[:n]
        return replace(
            self,
            inputs=self.inputs[: int(source.sum())],  # type: ignore[index]
            targets=self.targets[: int(target.sum())],
            source_lengths=source,
            target_lengths=target,
        )


def pair_split(sources: Sequence[Sequence[int]], targets: Sequence[Sequence[int]], name: str, place: str) -> PairSplit:
    """A split of sentences as ids; the end token is added here."""
    sides = [[[*ids, EOS] for ids in side] for side in (sources, targets)]
    flat = [torch.tensor([number for ids in side for number in ids], dtype=torch.int64) for side in sides]
    lengths = [torch.tensor([len(ids) for ids in side], dtype=torch.int64) for side in sides]
    return PairSplit(flat[0], flat[1], name=name, source=place, source_lengths=lengths[0], target_lengths=lengths[1])


class PairLoader(BucketLoader):
    """Batches of source (b, S), its lengths (b,) on the CPU, target input (b, T) from <bos> on, and targets (b, T).

    A batch counts its target tokens, not its pairs, so that accumulated or distributed parts have the weight of their
    tokens.
    """

    split: PairSplit

    def _open(self, device: torch.device, channels_last: bool, workers: int) -> None:
        self.device = device
        split = self.split
        assert isinstance(split.inputs, Tensor)
        self.counts, self.keys = split.target_lengths, split.source_lengths * 1000 + split.target_lengths
        self._source = (split.inputs, split.source_lengths, split.source_lengths.cumsum(0) - split.source_lengths)
        self._target = (split.targets, split.target_lengths, split.target_lengths.cumsum(0) - split.target_lengths)

    def _batch(self, rows: Tensor) -> tuple[Tensor, ...]:
        (source, lengths, begins), (target, target_lengths, target_begins) = self._source, self._target
        sources = padded(source, begins[rows], lengths[rows], PAD)
        targets = padded(target, target_begins[rows], target_lengths[rows], IGNORED)
        begin = torch.full((len(rows), 1), BOS)
        inputs = torch.cat([begin, targets[:, :-1]], 1)
        inputs = inputs.masked_fill(inputs == IGNORED, PAD)
        return sources.to(self.device), lengths[rows], inputs.to(self.device), targets.to(self.device)

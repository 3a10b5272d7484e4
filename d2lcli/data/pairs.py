"""Pairs of sentences as batches: of like length, padded to the longest (d2l 10.5).

Legend: b pairs of a batch, S source tokens, T target tokens.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from d2lcli.data.dataset import Split
from d2lcli.data.loader import Loader, part, stream_generator

RESERVED = ("<pad>", "<bos>", "<eos>")
PAD, BOS, EOS = 1, 2, 3  # their ids, after <unk>
IGNORED = -100  # the target of a place beyond the end; torch's losses leave it out
NONE = torch.empty(0, dtype=torch.int64)
POOL = 50  # batches whose pairs are sorted by length together


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


class PairLoader(Loader):
    """Batches of source (b, S), its lengths (b,) on the CPU, target input (b, T) from <bos> on, and targets (b, T).

    For training, pairs of POOL batches are sorted by length and cut into batches, whose order is then random: so few
    places are padding.  A batch counts its target tokens, not its pairs, so that accumulated or distributed parts have
    the weight of their tokens.
    """

    split: PairSplit
    _plan: list[Tensor]
    _plan_of: int = -1

    def _open(self, device: torch.device, channels_last: bool, workers: int) -> None:
        self.device = device
        split = self.split
        assert isinstance(split.inputs, Tensor)
        self._sides = [
            (split.inputs, split.source_lengths, split.source_lengths.cumsum(0) - split.source_lengths),
            (split.targets, split.target_lengths, split.target_lengths.cumsum(0) - split.target_lengths),
        ]

    def global_size(self, index: int) -> int:
        return int(self.split.target_lengths[self._rows(index)].sum())

    def local_size(self, index: int) -> int:
        return int(self.split.target_lengths[self._own_rows(index)].sum())

    def batches(self, epoch: int, start: int = 0) -> Iterator[tuple[Tensor, ...]]:
        if not 0 <= start <= len(self):
            raise ValueError(f"start is {start}; the epoch has {len(self)} batches")
        self._arrange(epoch)
        for index in range(start, len(self)):
            rows = self._own_rows(index)
            if len(rows):
                yield self._batch(rows)

    def _batch(self, rows: Tensor) -> tuple[Tensor, ...]:
        source, lengths = self._padded(0, rows, PAD)
        targets, _ = self._padded(1, rows, IGNORED)
        begin = torch.full((len(rows), 1), BOS)
        inputs = torch.cat([begin, targets[:, :-1]], 1)
        inputs = inputs.masked_fill(inputs == IGNORED, PAD)
        return source.to(self.device), lengths, inputs.to(self.device), targets.to(self.device)

    def _padded(self, side: int, rows: Tensor, filler: int) -> tuple[Tensor, Tensor]:
        """The sentences of one side, padded to their longest, and their lengths."""
        flat, all_lengths, starts = self._sides[side]
        lengths = all_lengths[rows]
        steps = torch.arange(int(lengths.max()))
        places = (starts[rows][:, None] + steps).clamp(max=len(flat) - 1)
        return flat[places].masked_fill(steps >= lengths[:, None], filler), lengths

    def _rows(self, index: int) -> Tensor:
        """The pairs of global batch `index` in the epoch that was arranged last."""
        if self._plan_of < 0:
            self._arrange(0)
        return self._plan[index]

    def _own_rows(self, index: int) -> Tensor:
        rows = self._rows(index)
        low, high = part(len(rows), self.rank, self.world_size)
        return rows[low:high]

    def _arrange(self, epoch: int) -> None:
        if self._plan_of == epoch:
            return
        count = len(self.split)
        if not self.shuffle:
            plan = list(torch.split(torch.arange(count), self.batch_size))
        else:
            generator = stream_generator(self.seed, epoch, "permutation")
            order = torch.randperm(count, generator=generator)
            if self.tail == 0:
                order = order[: self.full * self.batch_size]
            plan = []
            for pool in torch.split(order, POOL * self.batch_size):
                key = self.split.source_lengths[pool] * 1000 + self.split.target_lengths[pool]
                plan += torch.split(pool[key.argsort(stable=True)], self.batch_size)
            whole = [rows for rows in plan if len(rows) == self.batch_size]
            rest = [rows for rows in plan if len(rows) < self.batch_size]
            plan = [whole[i] for i in torch.randperm(len(whole), generator=generator).tolist()] + rest
        self._plan, self._plan_of = plan, epoch

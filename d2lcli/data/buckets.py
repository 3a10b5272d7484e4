"""Batches of texts of like length, so that little of a batch is padding (d2l 10.5)."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from d2lcli.data.loader import Loader, part, stream_generator

POOL = 50  # batches whose examples are sorted by length together


class BucketLoader(Loader):
    """For training, the examples of POOL batches are sorted by length and cut into batches, whose order is then random.

    A subclass lays out the examples in `_open`, which also sets `keys` and `counts`, and makes a batch of row numbers.

    Attributes:
        keys: (n,) what is sorted by.
        counts: (n,) what each example counts in the mean loss of a batch, so that accumulated or distributed parts have
            the weight that they have in the whole batch.
    """

    keys: Tensor
    counts: Tensor
    _plan: list[Tensor]
    _plan_of: int = -1

    def _batch(self, rows: Tensor) -> tuple[Any, ...]:
        """The batch of the examples `rows`."""
        raise NotImplementedError

    def global_size(self, index: int) -> int:
        return int(self.counts[self._rows(index)].sum())

    def local_size(self, index: int) -> int:
        return int(self.counts[self._own_rows(index)].sum())

    def batches(self, epoch: int, start: int = 0) -> Iterator[tuple[Any, ...]]:
        if not 0 <= start <= len(self):
            raise ValueError(f"start is {start}; the epoch has {len(self)} batches")
        self._arrange(epoch)
        for index in range(start, len(self)):
            rows = self._own_rows(index)
            if len(rows):
                yield self._batch(rows)

    def _rows(self, index: int) -> Tensor:
        """The examples of global batch `index` in the epoch that was arranged last."""
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
                plan += torch.split(pool[self.keys[pool].argsort(stable=True)], self.batch_size)
            whole = [rows for rows in plan if len(rows) == self.batch_size]
            rest = [rows for rows in plan if len(rows) < self.batch_size]
            plan = [whole[i] for i in torch.randperm(len(whole), generator=generator).tolist()] + rest
        self._plan, self._plan_of = plan, epoch


def padded(flat: Tensor, starts: Tensor, lengths: Tensor, filler: int) -> Tensor:
    """Rows of different lengths out of a flat tensor, padded to the longest: (b, t).

    Args:
        flat: all rows, one after the other.
        starts: (b,) where each row begins.
        lengths: (b,) of each row, one of them at least 1.
        filler: what stands after the end of a row.
    """
    steps = torch.arange(int(lengths.max()))
    places = (starts[:, None] + steps).clamp(max=len(flat) - 1)
    return flat[places].masked_fill(steps >= lengths[:, None], filler)

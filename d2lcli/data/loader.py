"""Batches as a function of (seed, epoch, batch): a position is the whole state, and no global random number is drawn.

The permutation is f(seed, epoch), augmentation is f(seed, epoch, example), so neither the batch size, nor the number of
processes or workers, nor a restart in the middle of an epoch changes what an example looks like.  Mixing is f(seed,
epoch, batch), and a rank's part comes with the row before it, so that a mixture is the same on any number of processes.
"""

import hashlib
from collections.abc import Iterator
from typing import Literal

import torch
from torch import Tensor

from d2lcli.data.dataset import Split
from d2lcli.data.lazy import LazyStore
from d2lcli.data.store import Batch, MemoryStore
from d2lcli.errors import DataError

Sampler = Literal["shuffle", "replacement"]


def loader_options(
    batch_size: int = 256,
    eval_batch_size: int = 1000,
    drop_last: bool = False,
    sampler: Sampler = "shuffle",
    workers: int = 0,
    limit: int | None = None,
) -> dict[str, int | bool | str | None]:
    """The keys that every data set's config has for its loaders, checked.

    Args:
        batch_size: examples of one update, over all processes.
        eval_batch_size: examples of one evaluation batch; it changes the speed, not the result.
        drop_last: leave out the last training batch where it is smaller.
        sampler: shuffle: every example once an epoch; replacement: as many drawn independently, so that about 1/e of
            them, 37 %, are missed in an epoch (d2l 12.4).
        workers: processes that decode images which do not fit in memory; data in memory needs none.
        limit: use the first examples of each split only.

    Raises:
        ValueError: a number out of range.
    """
    for name, value, least in (
        ("batch_size", batch_size, 1),
        ("eval_batch_size", eval_batch_size, 1),
        ("workers", workers, 0),
    ):
        if value < least:
            raise ValueError(f"{name} is {value}; it must be at least {least}")
    if limit is not None and limit < 1:
        raise ValueError(f"limit is {limit}; it must be at least 1, or null for all examples")
    return {
        "batch_size": batch_size,
        "eval_batch_size": eval_batch_size,
        "drop_last": drop_last,
        "sampler": sampler,
        "workers": workers,
        "limit": limit,
    }


def stream_seed(seed: int, epoch: int, stream: str) -> int:
    """The seed for one purpose in one epoch: 63 bits of a hash, the same on every machine."""
    digest = hashlib.sha256(f"{stream}/{seed}/{epoch}".encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1


def stream_generator(seed: int, epoch: int, stream: str) -> torch.Generator:
    """A private generator for one purpose in one epoch."""
    return torch.Generator().manual_seed(stream_seed(seed, epoch, stream))


def part(size: int, rank: int, world_size: int) -> tuple[int, int]:
    """The bounds of a rank's contiguous part of a batch; sizes differ by one at most, the larger ones come first."""
    share, extra = divmod(size, world_size)
    low = rank * share + min(rank, extra)
    return low, low + share + (rank < extra)


class Loader:
    """The batches of a split for one process.

    A yielded tensor may be a view of a buffer: it is whole until the batch after the next one is asked for.  Clone it
    to keep it longer.  With `shuffle=False` batches are slices of the data set itself: do not write to them.

    Args:
        split: the examples.
        batch_size: examples of a global batch, over all ranks.  Evaluation may use more than there are.
        seed: decides permutations, augmentation and mixing.
        shuffle: True for training: permute, augment and mix.  False for evaluation: stored order, nothing random.
        drop_last: leave out the last batch where it is smaller than the others.
        sampler: see `loader_options`; for training.
        rank: this process; it gets one contiguous part of every global batch.
        world_size: all processes.  A last training batch with fewer examples than processes is left out, because every
            rank must take part in an update; in evaluation a rank without examples skips that batch.
        device: where the batches are wanted.
        workers: processes for images that do not fit in memory.
        channels_last: give images in that memory format.

    Raises:
        ValueError: the batch is larger than the split, or smaller than the number of processes.
        DataError: the split is empty.
    """

    def __init__(
        self,
        split: Split,
        *,
        batch_size: int,
        seed: int,
        shuffle: bool,
        drop_last: bool = False,
        sampler: Sampler = "shuffle",
        rank: int = 0,
        world_size: int = 1,
        device: str | torch.device = "cpu",
        workers: int = 0,
        channels_last: bool = False,
    ) -> None:
        self.split, self.seed, self.shuffle = split, seed, shuffle
        self.batch_size, self.rank, self.world_size = batch_size, rank, world_size
        self.sampler = sampler
        self._check(drop_last)
        self.full, self.tail = divmod(len(split), batch_size)
        if drop_last or (shuffle and self.tail < world_size):
            self.tail = 0
        self._open(torch.device(device), channels_last, workers)

    def _open(self, device: torch.device, channels_last: bool, workers: int) -> None:
        """Lay the examples out."""
        if isinstance(self.split.inputs, Tensor):
            self._store: MemoryStore | LazyStore = MemoryStore(self.split, device, channels_last)
        else:
            self._store = LazyStore(self.split, device, channels_last, workers)

    def _check(self, drop_last: bool) -> None:
        if self.sampler == "replacement" and type(self) is not Loader:
            raise ValueError("sampler is replacement, which needs examples that stand alone, not a text or pairs")
        n, where = len(self.split), f"the {self.split.name} split"
        if n == 0:
            raise DataError(f"{self.split.source or 'the data set'}: {where} is empty")
        if self.batch_size < 1 or not 0 <= self.rank < self.world_size:
            raise ValueError(
                f"batch_size {self.batch_size}, rank {self.rank}, world_size {self.world_size}: "
                "batch_size must be at least 1 and rank one of 0 .. world_size - 1"
            )
        if self.world_size > self.batch_size:
            raise ValueError(
                f"batch_size is {self.batch_size}, fewer than the {self.world_size} processes that share it"
            )
        if self.batch_size > n and self.shuffle:
            raise ValueError(
                f"batch_size is {self.batch_size}, but {where} has only {n} examples; give data.batch_size={n} or less"
            )
        if self.batch_size > n and drop_last:
            raise ValueError(
                f"drop_last with batch_size {self.batch_size} leaves nothing of the {n} examples of {where}"
            )

    def __len__(self) -> int:
        """Global batches of an epoch."""
        return self.full + (self.tail > 0)

    def global_size(self, index: int) -> int:
        """Examples of global batch `index` over all ranks."""
        if not 0 <= index < len(self):
            raise IndexError(f"batch {index} of {len(self)}")
        return self.batch_size if index < self.full else self.tail

    def local_size(self, index: int) -> int:
        """What this rank's part of global batch `index` counts, in the unit of `global_size`."""
        low, high = part(self.global_size(index), self.rank, self.world_size)
        return high - low

    def batches(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """This rank's part of the global batches `start`, `start` + 1, ... of an epoch, as (inputs, targets)."""
        if not 0 <= start <= len(self):
            raise ValueError(f"start is {start}; the epoch has {len(self)} batches")
        if not self.shuffle:
            return self._store.slices(self._bounds(start))
        order = self._order(epoch)
        low, high = part(self.batch_size, self.rank, self.world_size)
        mix = self.split.mix
        size = high - low + (mix is not None)
        batches = self._store.gathered(self._own(order, start), size, self._uniforms(epoch))
        if mix is None:
            return batches
        drawn = mix.draw(len(self), stream_seed(self.seed, epoch, "mixing"))[start:]
        return (mix(batch[0], batch[1], chance) for batch, chance in zip(batches, drawn))

    def _order(self, epoch: int) -> Tensor:
        """The row numbers of an epoch (n,)."""
        count, generator = len(self.split), stream_generator(self.seed, epoch, "permutation")
        if self.sampler == "replacement":
            return torch.randint(count, (count,), generator=generator)
        return torch.randperm(count, generator=generator)

    def _bounds(self, start: int) -> Iterator[tuple[int, int]]:
        for index in range(start, len(self)):
            low, high = part(self.global_size(index), self.rank, self.world_size)
            if high > low:
                yield index * self.batch_size + low, index * self.batch_size + high

    def _own(self, order: Tensor, start: int) -> Tensor:
        """The row numbers of this rank from global batch `start` on, batch after batch."""
        cut = self.full * self.batch_size
        body = self._share(order[:cut].view(self.full, self.batch_size)[start:])
        if self.tail == 0 or start > self.full:
            return body
        return torch.cat([body, self._share(order[cut:].view(1, self.tail))])

    def _share(self, rows: Tensor) -> Tensor:
        """This rank's part of global batches (m, b), flat; where they are mixed, each with the row before the part."""
        low, high = part(rows.shape[1], self.rank, self.world_size)
        own = rows[:, low:high]
        if self.split.mix is not None:
            own = torch.cat([rows[:, low - 1].unsqueeze(1), own], dim=1)  # before the first row, the last
        return own.reshape(-1)

    def _uniforms(self, epoch: int) -> Tensor | None:
        augment = self.split.augment
        if augment is None:
            return None
        generator = stream_generator(self.seed, epoch, "augmentation")
        return torch.rand(len(self.split), augment.num_uniforms, generator=generator)

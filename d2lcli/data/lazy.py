"""Batches of images that do not fit in memory, decoded by workers or, with `workers=0`, here: the same result."""

import signal
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from d2lcli.data.dataset import ImageReader, Split
from d2lcli.data.store import Batch
from d2lcli.errors import D2LError


class LazyStore:
    """A split whose inputs are a reader.

    Chance is not a matter of the workers: they decode, and this process prepares and augments.

    Args:
        split: with an `ImageReader` as inputs.
        device: where batches are wanted.
        channels_last: give images in that memory format.
        workers: processes that decode.
    """

    def __init__(self, split: Split, device: torch.device, channels_last: bool, workers: int) -> None:
        assert not isinstance(split.inputs, Tensor)
        self.reader: ImageReader = split.inputs
        self.targets = split.targets
        self.prepare, self.augment = split.prepare, split.augment
        self.device, self.workers = device, workers
        self.format = torch.channels_last if channels_last else torch.contiguous_format

    def slices(self, bounds: Iterator[tuple[int, int]]) -> Iterator[Batch]:
        """The batches low .. high - 1 in the stored order."""
        return self._batches([list(range(low, high)) for low, high in bounds], None)

    def gathered(self, order: Tensor, size: int, uniforms: Tensor | None) -> Iterator[Batch]:
        """Batches of `size` rows in the given order (m,); `uniforms` (n, k) is the table of the epoch."""
        return self._batches([rows.tolist() for rows in torch.split(order, size)] if len(order) else [], uniforms)

    def _batches(self, indices: list[list[int]], uniforms: Tensor | None) -> Iterator[Batch]:
        for rows, images in zip(indices, self._decoded(indices)):
            inputs = images.to(self.device, non_blocking=True)
            if self.prepare is not None:
                inputs = self.prepare(inputs)
            if self.augment is not None and uniforms is not None:
                inputs = self.augment(inputs, uniforms[rows].to(self.device))
            yield inputs.contiguous(memory_format=self.format), self.targets[rows].to(self.device)

    def _decoded(self, indices: list[list[int]]) -> Iterator[Tensor]:
        if self.workers == 0 or not indices:
            yield from map(self.reader.load, indices)
            return
        loader: DataLoader[Tensor | D2LError] = DataLoader(
            _Batched(self.reader),
            batch_sampler=indices,
            collate_fn=_first,
            num_workers=self.workers,
            worker_init_fn=_leave_interrupts,
            pin_memory=self.device.type == "cuda",
            generator=torch.Generator().manual_seed(0),  # without one, torch would draw from the global generator
        )
        try:
            for decoded in _iterate(loader):
                if isinstance(decoded, D2LError):
                    raise decoded
                yield decoded
        except RuntimeError as error:
            if "DataLoader worker" not in str(error):
                raise
            raise D2LError(
                "a process that decodes images was killed",
                "the machine may be out of memory: lower data.workers or data.batch_size, then resume the run",
            ) from error


class _Batched(Dataset[Tensor]):
    """A reader in the form that DataLoader asks for whole batches."""

    def __init__(self, reader: ImageReader) -> None:
        self.reader = reader

    def __len__(self) -> int:
        return len(self.reader)

    def __getitem__(self, index: int) -> Tensor:
        return self.reader.load([index])

    def __getitems__(self, indices: Sequence[int]) -> list[Tensor | D2LError]:
        try:
            return [self.reader.load(indices)]
        except D2LError as error:  # handed over as a value: DataLoader would put a traceback into its message
            return [error]


def _first(batch: list[Tensor | D2LError]) -> Tensor | D2LError:
    return batch[0]


def _leave_interrupts(worker: int) -> None:
    """Ctrl-C reaches every process of the terminal; what to do about it is the parent's choice."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _iterate(loader: DataLoader[Tensor | D2LError]) -> Iterator[Tensor | D2LError]:
    """Start the workers without torch's SIGCHLD handler.

    It would raise in the middle of whatever the program is doing; asking for the next batch notices a dead worker, too.
    """
    before = signal.getsignal(signal.SIGCHLD)
    iterator = iter(loader)
    if signal.getsignal(signal.SIGCHLD) is not before:
        signal.signal(signal.SIGCHLD, before or signal.SIG_DFL)
    return iterator

"""The inputs of a split laid out for fast gathering: flat rows, prepared once and placed on the device where they fit.

Legend: n examples, d numbers for each, m examples of a chunk, b examples of a batch.
"""

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from d2lcli.data.dataset import Split

MATERIALISE_LIMIT = 1 << 30  # bytes of prepared inputs that are kept in the host's memory
CHUNK_BYTES = 4 << 20  # a chunk stays in the processor's cache until its batches are used
DEVICE_CHUNK_BYTES = 64 << 20
BLOCK = 4096  # rows that are prepared at a time

Batch = tuple[Tensor, ...]  # inputs, targets, and where the examples are weighted, their weights


def split_rows(parts: Sequence[Tensor], size: int) -> Iterator[Batch]:
    """Views of `size` consecutive rows of each part; the last may be smaller."""
    return zip(*(torch.split(part, size) for part in parts))


class MemoryStore:
    """A split that fits in memory.

    Args:
        split: with a tensor of inputs.
        device: where batches are wanted.
        channels_last: give images in that memory format.
    """

    def __init__(self, split: Split, device: torch.device, channels_last: bool) -> None:
        assert isinstance(split.inputs, Tensor)
        self.device = device
        self.augment = split.augment
        inputs = split.inputs
        self.channels_last = channels_last and inputs.dim() == 4
        self.prepare = split.prepare
        prepared_shape = inputs[:1].shape if split.prepare is None else split.prepare(inputs[:1]).shape
        budget = MATERIALISE_LIMIT if device.type != "cuda" else torch.cuda.mem_get_info(device)[0] // 4
        if split.prepare is not None and 4 * len(inputs) * math.prod(prepared_shape[1:]) <= budget:
            inputs = self._prepare_all(inputs)
            self.prepare = None
        self.resident = device.type != "cuda" or inputs.numel() * inputs.element_size() <= budget
        self.shape = inputs.shape[1:]
        self.rows = self._flatten(inputs).to(device if self.resident else "cpu")  # (n, d)
        labels = [split.targets] if split.weights is None else [split.targets, split.weights]
        self.labels = [part.to(device if self.resident else "cpu") for part in labels]

    def _prepare_all(self, inputs: Tensor) -> Tensor:
        assert self.prepare is not None
        return torch.cat([self.prepare(block) for block in torch.split(inputs, BLOCK)])

    def _flatten(self, inputs: Tensor) -> Tensor:
        ordered = inputs.permute(0, 2, 3, 1) if self.channels_last else inputs
        return ordered.reshape(len(inputs), -1).contiguous()

    def _shaped(self, rows: Tensor) -> Tensor:
        """Rows (m, d) as inputs (m, ...), without a copy."""
        if not self.channels_last:
            return rows.view(-1, *self.shape)
        c, h, w = self.shape
        return rows.view(-1, h, w, c).permute(0, 3, 1, 2)

    def _finish(self, rows: Tensor, uniforms: Tensor | None) -> Tensor:
        inputs = self._shaped(rows)
        if self.prepare is not None:
            inputs = self.prepare(inputs)
        if self.augment is not None and uniforms is not None:
            inputs = self.augment(inputs, uniforms)
        return inputs.contiguous(memory_format=torch.channels_last) if self.channels_last else inputs

    def slices(self, bounds: Iterator[tuple[int, int]]) -> Iterator[Batch]:
        """The batches low .. high - 1 in the stored order: plain slices, without a copy where the split is resident."""
        for low, high in bounds:
            rows = self.rows[low:high].to(self.device, non_blocking=True)
            labels = (part[low:high].to(self.device, non_blocking=True) for part in self.labels)
            yield self._finish(rows, None), *labels

    def gathered(self, order: Tensor, size: int, uniforms: Tensor | None) -> Iterator[Batch]:
        """Batches of `size` rows in the given order.

        Many batches are gathered at once into one of two buffers that take turns; what is yielded are views of it.

        Args:
            order: row numbers, int64 (m,).
            size: b; the last batch may be smaller.
            uniforms: (n, k), the table of the epoch, or None for no augmentation.
        """
        row_bytes = self.rows.shape[1] * self.rows.element_size()
        chunk_bytes = DEVICE_CHUNK_BYTES if self.rows.is_cuda else CHUNK_BYTES
        chunk = max(1, chunk_bytes // max(1, row_bytes * size)) * size
        order = order.to(self.rows.device)
        labels = [part.index_select(0, order).to(self.device) for part in self.labels]
        table = None if uniforms is None or self.augment is None else uniforms.to(self.device)
        buffers = self._buffers(min(chunk, len(order)))
        for turn, low in enumerate(range(0, len(order), chunk)):
            index = order[low : low + chunk]
            rows = buffers.gather(turn, self.rows, index)
            drawn = None if table is None else table.index_select(0, index.to(self.device))
            yield from split_rows([self._finish(rows, drawn), *(part[low : low + chunk] for part in labels)], size)

    def _buffers(self, count: int) -> "Buffers":
        pinned = not self.resident
        pair = [
            torch.empty(count, self.rows.shape[1], dtype=self.rows.dtype, device=self.rows.device, pin_memory=pinned)
            for _ in range(2)
        ]
        return PinnedBuffers(pair, self.device) if pinned else Buffers(pair)


class Buffers:
    """Two buffers that take turns, so that a batch stays whole until the one after the next is asked for."""

    def __init__(self, pair: list[Tensor]) -> None:
        self.pair = pair

    def gather(self, turn: int, rows: Tensor, index: Tensor) -> Tensor:
        """The rows (n, d) at `index` (m,), gathered into the buffer whose turn it is: (m, d)."""
        out = self.pair[turn % 2][: len(index)]
        return torch.index_select(rows, 0, index, out=out)


class PinnedBuffers(Buffers):
    """The same in page-locked memory, each chunk copied to the device while the host gathers the next."""

    def __init__(self, pair: list[Tensor], device: torch.device) -> None:
        super().__init__(pair)
        self.device = device
        self.copied = [torch.cuda.Event() for _ in pair]  # type: ignore[no-untyped-call]

    def gather(self, turn: int, rows: Tensor, index: Tensor) -> Tensor:
        event = self.copied[turn % 2]
        event.synchronize()  # an event that was never recorded is done already
        moved = super().gather(turn, rows, index).to(self.device, non_blocking=True)
        event.record(torch.cuda.current_stream(self.device))
        return moved

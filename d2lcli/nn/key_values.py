"""Keys and values that grow by a token at a time (d2l 11.5)."""

import torch
from torch import Tensor

MORE = 64  # tokens of room at the least, when room is made


class KeyValues:
    """Keys and values (2, b, h, n, d / h) of n tokens so far, in memory that has room for more.

    What is appended is written behind them in place.  They are copied when the room is used up, when gradients are
    wanted, or when something else was appended to the same n tokens before: so this object itself never changes, but by
    `move`.

    Args:
        room: (2, b, h, c, d / h) with c at least n; what lies behind the n-th token has no meaning.
        length: n.
    """

    def __init__(self, room: Tensor, length: int, taken: list[int] | None = None) -> None:
        self._room, self._length = room, length
        self._taken = [length] if taken is None else taken  # tokens in the room, for all objects that share it

    @property
    def shape(self) -> torch.Size:
        """(2, b, h, n, d / h)."""
        return torch.Size((*self._room.shape[:3], self._length, self._room.shape[4]))

    @property
    def tensor(self) -> Tensor:
        """(2, b, h, n, d / h)."""
        return self._room.narrow(3, 0, self._length)

    def append(self, keys: Tensor, values: Tensor) -> "KeyValues":
        """With those of further tokens, (b, h, m, d / h) each, behind."""
        first, last = self._length, self._length + keys.shape[2]
        if keys.requires_grad:
            return KeyValues(torch.cat([self.tensor, torch.stack((keys, values))], dim=3), last)
        shared = last <= self._room.shape[3] and self._taken[0] == first
        after = KeyValues(self._room, last, self._taken) if shared else KeyValues(self._copy(last + MORE), last)
        behind = after._room.narrow(3, first, last - first)
        behind[0].copy_(keys)
        behind[1].copy_(values)
        after._taken[0] = last
        return after

    def index_select(self, dim: int, rows: Tensor) -> "KeyValues":
        """Those of the rows (b',) of the batch, which is dimension 1, with as much room."""
        if dim != 1:
            raise ValueError(f"rows are picked from dimension 1, the batch, not {dim}")
        shape = list(self._room.shape)
        shape[1] = len(rows)
        room = self._room.new_empty(shape)
        torch.index_select(self.tensor, 1, rows, out=room[:, :, :, : self._length])
        return KeyValues(room, self._length)

    def move(self, sources: Tensor, targets: Tensor) -> None:
        """Let the rows `targets` (m,) of the batch be what `sources` (m,) are, in place.

        What this object was made of by `append`, or was appended to it, has the same memory and changes too.
        """
        kept = self.tensor
        if not kept.is_cpu:
            kept[:, targets] = kept[:, sources]
            return
        # Row by row, since an index goes from number to number: that takes four times as long.
        places = targets.tolist()
        rows = [kept[:, row] for row in sources.tolist()]
        if not set(places).isdisjoint(sources.tolist()):
            rows = [row.clone() for row in rows]
        for place, row in zip(places, rows):
            kept[:, place].copy_(row)

    def _copy(self, capacity: int) -> Tensor:
        shape = list(self._room.shape)
        shape[3] = capacity
        room = self._room.new_empty(shape)
        room[:, :, :, : self._length] = self.tensor
        return room

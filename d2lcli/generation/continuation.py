"""A model as a source of next-token logits that reads every token once.

Legend: n sequences, t tokens, V tokens of the vocabulary.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from d2lcli.generation.decoding import NextLogits
from d2lcli.nn.key_values import KeyValues


class Continuation:
    """Tokens (n, t) -> the logits (n, V) of the next one; only tokens that were not seen yet go through the model.

    The model has `begin(n) -> state` and, called with tokens and a state, returns logits and the state after.  A state
    is a tuple of tensors (layers, n, ...).  It is that of the rows as they were asked for last: a search that keeps
    other rows says so with `reorder`.

    A model with a `max_len` reads no more tokens than that: see `first_read`.  When its state is full, the last tokens
    are read again into a fresh one.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self.state: tuple[Any, ...] | None = None
        self.start = 0  # what comes before is no longer read
        self.seen = 0

    def __call__(self, tokens: Tensor) -> Tensor:
        start = first_read(tokens.shape[1], getattr(self.model, "max_len", None))
        if start > self.start:
            self.start = self.seen = start
            self.state = None
        state = self.model.begin(len(tokens)) if self.state is None else self.state  # type: ignore[operator]
        logits, self.state = self.model(tokens[:, self.seen :], state)
        self.seen = tokens.shape[1]
        last: Tensor = logits[:, -1]
        return last

    def reorder(self, rows: Tensor) -> None:
        """Keep the states of these rows (m,), in this order."""
        if self.state is not None:
            self.state = tuple(map(picker(rows), self.state))

    def fresh(self, row: int) -> "Continuation":
        """The same model, without any token seen; it goes on from any prompt, also from that of `row` alone."""
        return Continuation(self.model)


def picker(rows: Tensor) -> Callable[[Any], Any]:
    """Takes the rows (m,) of a part (layers, n, ...) of a state, in this order.

    Keys and values of as many rows change in place: in a beam about one row of four is another than before, and to copy
    it alone takes a fifth of the time of a new tensor of all.
    """
    moved = (rows != torch.arange(len(rows), device=rows.device)).nonzero()[:, 0]
    sources = rows[moved]

    def pick(part: Any) -> Any:
        if not isinstance(part, KeyValues) or part.shape[1] != len(rows):
            return part.index_select(1, rows)
        part.move(sources, moved)
        return part

    return pick


def first_read(length: int, max_len: int | None) -> int:
    """The first of `length` tokens that the model reads to tell the next one.

    All are read until they are more than `max_len`; then the last max_len // 2 of them, and with these all that
    follow, until they are more than `max_len` again.  So each token is read twice at most, and it depends on the
    number of tokens alone which are read: a long prompt is cut as if it had been written token by token, and a cache
    changes no text.
    """
    if max_len is None or length <= max_len:
        return 0
    step = max_len + 1 - max(max_len // 2, 1)  # tokens that are given up at a time
    return math.ceil((length - max_len) / step) * step


def next_logits(model: nn.Module, *, cache: bool = True) -> NextLogits:
    """Next-token logits of a language model, which may have a `max_len`: see `first_read`.

    Args:
        model: tokens (n, t) -> logits (n, t, V).
        cache: carry the state from token to token, where the model has one; False reads everything again for each.
    """
    if cache and hasattr(model, "begin"):
        return Continuation(model)
    max_len = getattr(model, "max_len", None)

    def whole(tokens: Tensor) -> Tensor:
        logits: Any = model(tokens[:, first_read(tokens.shape[1], max_len) :])
        last: Tensor = logits[:, -1]
        return last

    return whole

"""A model as a source of next-token logits that reads every token once.

Legend: n sequences, t tokens, V tokens of the vocabulary.
"""

from typing import Any

from torch import Tensor, nn

from d2lcli.generation.decoding import NextLogits


class Continuation:
    """Tokens (n, t) -> the logits (n, V) of the next one; only tokens that were not seen yet go through the model.

    The model has `begin(n) -> state` and, called with tokens and a state, returns logits and the state after.  A state
    is a tuple of tensors (layers, n, ...).  It is that of the rows as they were asked for last: a search that keeps
    other rows says so with `reorder`.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self.state: tuple[Tensor, ...] | None = None
        self.seen = 0

    def __call__(self, tokens: Tensor) -> Tensor:
        state = self.model.begin(len(tokens)) if self.state is None else self.state  # type: ignore[operator]
        logits, self.state = self.model(tokens[:, self.seen :], state)
        self.seen = tokens.shape[1]
        last: Tensor = logits[:, -1]
        return last

    def reorder(self, rows: Tensor) -> None:
        """Keep the states of these rows (m,), in this order."""
        if self.state is not None:
            self.state = tuple(part.index_select(1, rows) for part in self.state)

    def fresh(self) -> "Continuation":
        """The same model, without any token seen."""
        return Continuation(self.model)


def next_logits(model: nn.Module, *, cache: bool = True, context: int | None = None) -> NextLogits:
    """Next-token logits of a language model.

    Args:
        model: tokens (n, t) -> logits (n, t, V).
        cache: carry the state from token to token, where the model has one; False reads everything again for each.
        context: without a cache, the most tokens that the model can read.
    """
    if cache and hasattr(model, "begin"):
        return Continuation(model)

    def whole(tokens: Tensor) -> Tensor:
        logits: Any = model(tokens if context is None else tokens[:, -context:])
        last: Tensor = logits[:, -1]
        return last

    return whole

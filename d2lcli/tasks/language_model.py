"""Language modelling: predict each token from those before it (d2l 9.3)."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from d2lcli.errors import DataError
from d2lcli.tasks.metrics import Metric
from d2lcli.tasks.supervised import Loss, Supervised


class LanguageModel(Supervised):
    """A batch is tokens (b, T), the tokens that follow each (b, T), and for streams whether they go on.

    A stream's state is carried from batch to batch, without its gradient, by a model that has one: such a model has
    `begin(b) -> state`, and called with a state it returns the state after, too.  One that says `carries = False`
    keeps a state only to generate: its windows are read each for itself.
    """

    tbptt: int | None = None
    tbptt_keep: float = 0.0

    def __init__(self, loss: Loss, metrics: Sequence[Metric]) -> None:
        super().__init__(loss, metrics)
        self.carried: tuple[Tensor, ...] | None = None  # in training
        self._evaluated: tuple[Tensor, ...] | None = None

    def train_loss(self, model: nn.Module, batch: Sequence[Any]) -> Tensor:
        """The mean over the tokens of a batch."""
        tokens, targets, *going_on = batch
        begin = _state_of(model)
        if begin is None or not (going_on or self.tbptt):
            return self.training_loss(_flat(model(tokens)), targets.flatten())
        known = self.carried if going_on and going_on[0] else None
        state = begin(len(tokens)) if known is None else known
        logits, state = self._unroll(model, tokens, state)
        if going_on:
            self.carried = tuple(part.detach() for part in state)
        return self.training_loss(_flat(logits), targets.flatten())

    def _unroll(self, model: nn.Module, tokens: Tensor, state: Any) -> tuple[Tensor, Any]:
        """Logits and the state after; every `tbptt` tokens the gradient through the state is cut, or kept by chance.

        Kept with probability p it counts 1 / p, so that the expected gradient is the whole one (Tallec and Ollivier,
        2017; d2l 9.7).
        """
        parts: list[Tensor] = []
        for piece in torch.split(tokens, self.tbptt or tokens.shape[1], dim=1):
            if parts:
                keep = self.tbptt_keep > 0 and float(torch.rand(())) < self.tbptt_keep
                factor = 1 / self.tbptt_keep if keep else 0.0
                state = tuple(each.detach() + factor * (each - each.detach()) for each in state)
            logits, state = model(piece, state)
            parts.append(logits)
        return torch.cat(parts, 1), state

    def eval_step(self, model: nn.Module, batch: Sequence[Any]) -> tuple[Tensor, Tensor, Tensor]:
        """The loss of each token (b T,), the logits (b T, V), and the tokens (b T,)."""
        tokens, targets, *going_on = batch
        begin = _state_of(model)
        if begin is None or not going_on:
            logits = model(tokens)
        else:
            known = self._evaluated if going_on[0] else None
            logits, self._evaluated = model(tokens, begin(len(tokens)) if known is None else known)
        outputs, flat = _flat(logits), targets.flatten()
        return self.loss(outputs, flat, reduction="none"), outputs, flat

    def check(self, shape: Sequence[int], num_outputs: int, targets: Tensor) -> None:
        """See `Supervised.check`; targets are the tokens of a text."""
        super().check(shape, num_outputs, targets)
        if targets.is_floating_point():
            raise DataError(f"language_model needs tokens, not {targets.dtype}")
        if int(targets.max()) >= num_outputs or int(targets.min()) < 0:
            raise DataError(f"a token is outside the vocabulary of {num_outputs}")

    def state(self) -> dict[str, Tensor]:
        """What the next batch of a stream depends on."""
        return {} if self.carried is None else {str(i): part for i, part in enumerate(self.carried)}

    def load_state(self, tensors: Mapping[str, Tensor], device: torch.device) -> None:
        """Go on from what `state` gave."""
        self.carried = tuple(tensors[str(i)].to(device) for i in range(len(tensors))) or None


def _state_of(model: nn.Module) -> Any:
    """`begin` of a model that carries a state, also where it is wrapped; None of another one."""
    inner = getattr(model, "module", getattr(model, "_orig_mod", model))
    return getattr(inner, "begin", None) if getattr(inner, "carries", True) else None


def _flat(logits: Tensor) -> Tensor:
    return logits.flatten(0, -2)  # (b, T, V) -> (b T, V)


def language_model(
    loss: Loss, metrics: Sequence[Metric] = (), tbptt: int | None = None, tbptt_keep: float = 0.0
) -> LanguageModel:
    """The task of predicting the next token.

    Args:
        loss: such as `d2lcli.tasks.losses.cross_entropy`.
        metrics: such as `d2lcli.tasks.metrics.perplexity()`.
        tbptt: truncated backpropagation through time: no gradient passes from a token to the state more than so many
            tokens before; None passes through the whole window.  For models that carry a state.
        tbptt_keep: the probability that it passes all the same, which makes the length of what it passes through
            random and its expectation the whole gradient; 0 is regular truncation.

    Raises:
        ValueError: a value out of range, or two metrics of one name.
    """
    if tbptt is not None and tbptt < 1:
        raise ValueError(f"tbptt={tbptt!r} must be at least 1")
    if not 0 <= tbptt_keep <= 1:
        raise ValueError(f"tbptt_keep={tbptt_keep!r} must be from 0 to 1")
    task = LanguageModel(loss, metrics)
    task.tbptt, task.tbptt_keep = tbptt, tbptt_keep
    return task

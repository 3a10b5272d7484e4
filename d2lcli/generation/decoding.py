"""The loop that all step-by-step decoders share: ask for logits, choose a token, append it.

Legend: n sequences, t tokens of the prompt, m new tokens, V tokens of the vocabulary.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import torch
from torch import Tensor

from d2lcli.errors import NonFiniteError

NextLogits: TypeAlias = Callable[[Tensor], Tensor]
"""From tokens (n, t) to the logits (n, V) of the token that follows."""


Watch: TypeAlias = Callable[[Tensor], Tensor | None]
"""From tokens (n, t) to a mask (n,) of the sequences that are to end here, or None."""


@dataclass(frozen=True)
class Generated:
    """What a decoder made of a prompt.

    Args:
        tokens: (n, t + m), the prompt at the front; a sequence that ended is filled with the end token.
        lengths: (n,) new tokens of each sequence, its end token included.
        log_probs: (n, m) log-probability of each new token under the model, whatever the decoder made of its logits;
            0 after the end.
    """

    tokens: Tensor
    lengths: Tensor
    log_probs: Tensor


class Decoder(Protocol):
    """What a decoder's builder returns."""

    def __call__(
        self, next_logits: NextLogits, prompt: Tensor, eos: int | None = None, watch: Watch | None = None
    ) -> Generated:
        """Continue each row of `prompt` (n, t), integers, until `eos`, the id of the end token, if there is one.

        `watch` is shown all tokens after each step by the decoders that go step by step; rows that it marks end there.
        """


@torch.inference_mode()
def extend(
    next_logits: NextLogits,
    prompt: Tensor,
    eos: int | None,
    max_tokens: int,
    choose: Callable[[Tensor, Tensor], Tensor],
    watch: Watch | None = None,
) -> Generated:
    """Append tokens until every sequence has ended or has `max_tokens` new ones.

    Args:
        next_logits: from tokens (n, t) to logits (n, V).
        prompt: (n, t) ids.
        eos: id of the token that ends a sequence, or None.
        max_tokens: the most new tokens, at least 1.
        choose: from logits (n, V) in float64 and the tokens (n, t) so far to the ids (n,) that are appended.
        watch: shown the tokens after each step; sequences that it marks end.

    Raises:
        ValueError: a shape or an id does not fit.
        NonFiniteError: the logits are such that a chosen token has no finite log-probability.
    """
    tokens = check_prompt(prompt)
    ended = torch.zeros(len(tokens), dtype=torch.bool, device=tokens.device)
    lengths = torch.zeros_like(tokens[:, 0])
    columns = []
    for _ in range(max_tokens):
        logits = check_logits(next_logits(tokens), len(tokens), eos).double()  # (n, V)
        chosen = choose(logits, tokens)  # (n,)
        log_probs = logits.log_softmax(dim=1).gather(1, chosen[:, None])[:, 0]
        lengths += ~ended
        columns.append(log_probs.masked_fill(ended, 0.0))
        if eos is not None or watch is not None:
            chosen = chosen.masked_fill(ended, 0 if eos is None else eos)
        tokens = torch.cat([tokens, chosen[:, None]], dim=1)
        if eos is not None:
            ended |= chosen == eos
        if watch is not None and (marked := watch(tokens)) is not None:
            ended |= marked
        if (eos is not None or watch is not None) and bool(ended.all()):
            break
    found = torch.stack(columns, dim=1)  # (n, m)
    if not bool(found.isfinite().all()):
        raise NonFiniteError("the model gave logits from which no token can be chosen (NaN, or infinite)")
    return Generated(tokens, lengths, found)


def check_max_tokens(max_tokens: int) -> None:
    """Refuse a number of new tokens below 1.

    Raises:
        ValueError: max_tokens is below 1.
    """
    if max_tokens < 1:
        raise ValueError(f"max_tokens={max_tokens!r} must be at least 1")


def check_prompt(prompt: Tensor) -> Tensor:
    """A prompt (n, t) as int64.

    Raises:
        ValueError: it has another shape, or holds no integers.
    """
    if prompt.dim() != 2 or 0 in prompt.shape or prompt.is_floating_point():
        raise ValueError(f"a prompt must hold integers of shape (n, t), none of them 0, not {tuple(prompt.shape)}")
    return prompt.long()


def check_logits(logits: Tensor, rows: int, eos: int | None) -> Tensor:
    """The logits of `rows` sequences, if they fit.

    Raises:
        ValueError: another shape, or an end token outside the vocabulary.
    """
    if logits.dim() != 2 or len(logits) != rows or logits.shape[1] < 1:
        raise ValueError(f"logits for {rows} sequences must have shape ({rows}, V), not {tuple(logits.shape)}")
    if eos is not None and not 0 <= eos < logits.shape[1]:
        raise ValueError(f"eos={eos} must be an id below {logits.shape[1]}, the size of the vocabulary")
    return logits

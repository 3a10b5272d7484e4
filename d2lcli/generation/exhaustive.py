"""Exhaustive search (d2l 10.8): every sequence, for vocabularies and lengths that are tiny."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from d2lcli.errors import NonFiniteError
from d2lcli.generation.decoding import Decoder, Generated, NextLogits, check_logits, check_max_tokens, check_prompt

MOST = 1_000_000  # prefixes of one length


def exhaustive(max_tokens: int = 5, alpha: float = 0.75) -> Decoder:
    """The sequence of the largest sum of log-probabilities / L^alpha among all |V|^max_tokens, which a beam approaches.

    Args:
        max_tokens: the most new tokens; a sequence of that length counts as finished.
        alpha: at least 0, see `d2lcli.generation.beam.beam`.

    Raises:
        ValueError: a value out of range; when called: more than a million prefixes.
    """
    check_max_tokens(max_tokens)
    if not 0 <= alpha < float("inf"):
        raise ValueError(f"alpha={alpha!r} must be a number, finite and at least 0")

    @torch.no_grad()
    def decode(next_logits: NextLogits, prompt: Tensor, eos: int | None = None, watch: Any = None) -> Generated:
        rows = enumerate(check_prompt(prompt))
        found = [_search(_fresh(next_logits, place), row[None], eos, max_tokens, alpha) for place, row in rows]
        tokens, logs = [each for each, _ in found], [each for _, each in found]
        new = pad_sequence(tokens, batch_first=True, padding_value=0 if eos is None else eos)
        lengths = torch.tensor([len(each) for each in tokens], device=prompt.device)
        return Generated(torch.cat([prompt.long(), new], 1), lengths, pad_sequence(logs, batch_first=True))

    return decode


def _search(
    fresh: Callable[[], NextLogits], prompt: Tensor, eos: int | None, max_tokens: int, alpha: float
) -> tuple[Tensor, Tensor]:
    """The best new tokens (m,) after one prompt (1, t), and their log-probabilities (m,)."""
    start = prompt.shape[1]
    tokens, logs = prompt, torch.zeros(1, 0, dtype=torch.float64, device=prompt.device)
    best, best_score = None, -torch.inf
    for step in range(1, max_tokens + 1):
        log_probs = check_logits(fresh()(tokens), len(tokens), eos).double().log_softmax(1)  # (m, V)
        if bool(log_probs.isnan().any()):
            raise NonFiniteError("the model gave logits from which no token can be chosen (NaN, or infinite)")
        rows, ids = (log_probs > -torch.inf).nonzero(as_tuple=True)
        if len(rows) > MOST:
            raise ValueError(f"{len(rows):,} sequences of {step} tokens are too many to try: lower max_tokens")
        tokens = torch.cat([tokens[rows], ids[:, None]], 1)
        logs = torch.cat([logs[rows], log_probs[rows, ids][:, None]], 1)
        ended = ids == eos if eos is not None else torch.zeros_like(ids, dtype=torch.bool)
        over = torch.ones_like(ended) if step == max_tokens else ended
        if bool(over.any()):
            scores = logs.sum(1).masked_fill(~over, -torch.inf) / step**alpha
            place = int(scores.argmax())
            if float(scores[place]) > best_score:
                best, best_score = (tokens[place, start:], logs[place]), float(scores[place])
        tokens, logs = tokens[~ended], logs[~ended]
        if not len(tokens):
            break
    assert best is not None
    return best


def _fresh(next_logits: NextLogits, row: int) -> Callable[[], NextLogits]:
    """Makes the source of logits for one prompt, without a memory, whose rows would not be those that are asked for."""
    if hasattr(next_logits, "fresh"):
        return partial(next_logits.fresh, row)
    return lambda: next_logits

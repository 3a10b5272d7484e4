"""Sampling with temperature, top-k and top-p (nucleus; Holtzman et al., 2020).

Legend: n sequences, V tokens of the vocabulary.
"""

import torch
from torch import Tensor

from d2lcli.generation.decoding import Decoder, Generated, NextLogits, Watch, check_max_tokens, extend


def sampling(
    max_tokens: int = 100,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float = 1.0,
    min_p: float = 0.0,
    repetition_penalty: float = 1.0,
    seed: int = 0,
) -> Decoder:
    """y_t drawn from softmax(o / temperature), cut to the top_k most probable tokens, and of these to the nucleus.

    The same seed, prompt and logits give the same text; the global generator is not touched.

    Args:
        max_tokens: the most new tokens.
        temperature: at least 0; 0 always takes the most probable token, as the limit does where that one is unique.
        top_k: how many of the most probable tokens may be drawn; None is all.
        top_p: in (0, 1]; the nucleus is the smallest number of the most probable tokens whose probabilities, after
            temperature and top_k, sum to at least top_p.
        min_p: in [0, 1]; tokens whose probability, after temperature, is below min_p times the largest are left out
            (Nguyen et al., 2024).
        repetition_penalty: above 0; logits of tokens that stand in the text already are divided by it where they are
            positive, and multiplied where they are negative (Keskar et al., 2019); 1 changes nothing.
        seed: at least 0.

    Raises:
        ValueError: a value out of range.
    """
    check_max_tokens(max_tokens)
    if not 0 <= temperature < float("inf"):
        raise ValueError(f"temperature={temperature!r} must be a number, finite and at least 0")
    if top_k is not None and top_k < 1:
        raise ValueError(f"top_k={top_k!r} must be at least 1")
    if not 0 < top_p <= 1:
        raise ValueError(f"top_p={top_p!r} must be above 0 and at most 1")
    if not 0 <= min_p <= 1:
        raise ValueError(f"min_p={min_p!r} must be from 0 to 1")
    if not 0 < repetition_penalty < float("inf"):
        raise ValueError(f"repetition_penalty={repetition_penalty!r} must be above 0 and finite")
    if not 0 <= seed < 2**64:
        raise ValueError(f"seed={seed!r} must be at least 0 and below 2**64")

    def decode(
        next_logits: NextLogits, prompt: Tensor, eos: int | None = None, watch: Watch | None = None
    ) -> Generated:
        generator = torch.Generator().manual_seed(seed)

        def choose(logits: Tensor, tokens: Tensor) -> Tensor:
            if repetition_penalty != 1:
                logits = penalise(logits, tokens, repetition_penalty)
            # Drawn on the CPU, so that a seed means the same numbers on every device.
            uniform = torch.rand(len(logits), 1, generator=generator, dtype=torch.float64).to(logits.device)
            probs, ids = truncate(logits, temperature, top_k, top_p, min_p)
            return ids.gather(1, invert(probs, uniform))[:, 0]

        return extend(next_logits, prompt, eos, max_tokens, choose, watch)

    return decode


def penalise(logits: Tensor, tokens: Tensor, penalty: float) -> Tensor:
    """Logits (n, V), those of the tokens (n, t) that were used already made smaller."""
    used = logits.gather(1, tokens)
    return logits.scatter(1, tokens, torch.where(used > 0, used / penalty, used * penalty))


def truncate(
    logits: Tensor, temperature: float, top_k: int | None, top_p: float, min_p: float = 0.0
) -> tuple[Tensor, Tensor]:
    """The distribution that is sampled from.

    Args:
        logits: (n, V).
        temperature, top_k, top_p, min_p: as in `sampling`.

    Returns:
        probs: (n, V) in falling order, 0 for what is left out.
        ids: (n, V) the token of each; of equal tokens the one with the lower id comes first.
    """
    ordered, ids = logits.double().sort(dim=1, descending=True, stable=True)
    if temperature == 0:
        top_k, temperature = 1, 1.0
    # The largest is subtracted first: divided by a tiny temperature it would overflow.
    probs = ((ordered - ordered[:, :1]) / temperature).softmax(dim=1)
    if min_p > 0:
        probs = probs.masked_fill(probs < min_p * probs[:, :1], 0.0)
        probs /= probs.sum(dim=1, keepdim=True)
    if top_k is not None:
        probs[:, top_k:] = 0.0
        probs /= probs.sum(dim=1, keepdim=True)
    if top_p < 1:
        ahead = probs.cumsum(dim=1)[:, :-1]  # (n, V - 1) what the tokens before the second, the third, ... sum to
        probs[:, 1:] = probs[:, 1:].masked_fill(ahead >= top_p, 0.0)
        probs /= probs.sum(dim=1, keepdim=True)
    return probs, ids


def invert(probs: Tensor, uniform: Tensor) -> Tensor:
    """Inverse of the distribution function: the first place where it exceeds `uniform` (n, 1) in [0, 1).

    A place of probability 0 is never returned, as the function does not rise there.
    """
    reached = probs.cumsum(dim=1)  # (n, V)
    places = torch.searchsorted(reached, uniform * reached[:, -1:], right=True)  # (n, 1)
    return places.clamp(max=probs.shape[1] - 1)  # NaN is past the end; `extend` reports it

"""Sampling with temperature, top-k and top-p (nucleus; Holtzman et al., 2020).

Legend: n sequences, V tokens of the vocabulary.
"""

import torch
from torch import Tensor

from d2lcli.generation.decoding import Decoder, Generated, NextLogits, check_max_tokens, extend


def sampling(
    max_tokens: int = 100, temperature: float = 1.0, top_k: int | None = None, top_p: float = 1.0, seed: int = 0
) -> Decoder:
    """y_t drawn from softmax(o / temperature), cut to the top_k most probable tokens, and of these to the nucleus.

    The same seed, prompt and logits give the same text; the global generator is not touched.

    Args:
        max_tokens: the most new tokens.
        temperature: at least 0; 0 always takes the most probable token, as the limit does where that one is unique.
        top_k: how many of the most probable tokens may be drawn; None is all.
        top_p: in (0, 1]; the nucleus is the smallest number of the most probable tokens whose probabilities, after
            temperature and top_k, sum to at least top_p.
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
    if not 0 <= seed < 2**64:
        raise ValueError(f"seed={seed!r} must be at least 0 and below 2**64")

    def decode(next_logits: NextLogits, prompt: Tensor, eos: int | None = None) -> Generated:
        generator = torch.Generator().manual_seed(seed)

        def choose(logits: Tensor) -> Tensor:
            # Drawn on the CPU, so that a seed means the same numbers on every device.
            uniform = torch.rand(len(logits), 1, generator=generator, dtype=torch.float64).to(logits.device)
            probs, ids = truncate(logits, temperature, top_k, top_p)
            return ids.gather(1, invert(probs, uniform))[:, 0]

        return extend(next_logits, prompt, eos, max_tokens, choose)

    return decode


def truncate(logits: Tensor, temperature: float, top_k: int | None, top_p: float) -> tuple[Tensor, Tensor]:
    """The distribution that is sampled from.

    Args:
        logits: (n, V).
        temperature, top_k, top_p: as in `sampling`.

    Returns:
        probs: (n, V) in falling order, 0 for what is left out.
        ids: (n, V) the token of each; of equal tokens the one with the lower id comes first.
    """
    ordered, ids = logits.double().sort(dim=1, descending=True, stable=True)
    if temperature == 0:
        top_k, temperature = 1, 1.0
    # The largest is subtracted first: divided by a tiny temperature it would overflow.
    probs = ((ordered - ordered[:, :1]) / temperature).softmax(dim=1)
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

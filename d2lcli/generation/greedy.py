"""Greedy search (d2l 10.8)."""

from torch import Tensor

from d2lcli.generation.decoding import Decoder, Generated, NextLogits, Watch, check_max_tokens, extend


def greedy(max_tokens: int = 100) -> Decoder:
    """y_t = argmax_y P(y | y_1..y_(t-1), prompt), until the end token; of equal tokens the one with the lowest id.

    Args:
        max_tokens: the most new tokens.

    Raises:
        ValueError: max_tokens is below 1.
    """
    check_max_tokens(max_tokens)

    def decode(
        next_logits: NextLogits, prompt: Tensor, eos: int | None = None, watch: Watch | None = None
    ) -> Generated:
        return extend(next_logits, prompt, eos, max_tokens, _most_probable, watch)

    return decode


def _most_probable(logits: Tensor, tokens: Tensor) -> Tensor:
    return logits.argmax(dim=1)  # (n, V) -> (n,); torch promises the first of equal ones

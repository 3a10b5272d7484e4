"""Bits per byte in closed form; whole runs are in tests/training."""

import math

import pytest
import torch

from d2lcli.tasks.bits_per_byte import bits_per_byte

SIZES = torch.tensor([0, 1, 2, 3])


def test_the_bits_of_all_tokens_over_the_bytes_of_all() -> None:
    """Four equal logits are 2 bits a token: 5 tokens of 0 + 1 + 2 + 3 + 3 bytes are 10 bits for 9 bytes."""
    metric = bits_per_byte()
    metric.bind(4)
    metric.bind_tokens(SIZES)
    metric.update(torch.zeros(2, 4), torch.tensor([0, 1]))
    metric.update(torch.zeros(3, 4), torch.tensor([2, 3, 3]))
    assert metric.compute() == pytest.approx(10 / 9)
    # Residuals 2 - 10/9 y of the bytes y, which sum to 0.
    squares = sum((2 - 10 / 9 * y) ** 2 for y in (0, 1, 2, 3, 3))
    half = 1.959964 * math.sqrt(squares * 5 / 4) / 9
    assert metric.interval() == pytest.approx((10 / 9 - half, 10 / 9 + half), rel=1e-6)


def test_what_it_cannot_measure_is_refused() -> None:
    metric = bits_per_byte()
    with pytest.raises(ValueError, match="call bind_tokens first"):
        metric.update(torch.zeros(1, 4), torch.tensor([1]))
    with pytest.raises(ValueError, match="this data has no tokenizer"):
        metric.bind_tokens(None)
    metric.bind_tokens(SIZES)
    metric.update(torch.zeros(1, 4), torch.tensor([0]))
    with pytest.raises(ValueError, match="has seen no text"):
        metric.compute()
    with pytest.raises(ValueError, match=r"confidence=1.0 must be between 0 and 1"):
        metric.interval(1.0)
    metric.bind(3)
    with pytest.raises(ValueError, match="needs one output for each of the 4 tokens, and there are 3"):
        metric.bind_tokens(SIZES)

"""Positions of tokens (Vaswani et al., 2017; d2l 11.6)."""

from typing import Literal

import torch
from torch import Tensor, nn

Positions = Literal["learned", "sinusoidal"]


def sinusoidal(start: int, stop: int, dim: int, like: Tensor) -> Tensor:
    """P_(i, 2j) = sin(i / 10000^(2j / d)) and P_(i, 2j+1) = cos of the same, for i from `start` to `stop` - 1.

    Args:
        start, stop: positions, from 0.
        dim: d.
        like: a tensor of the device and type that are wanted.

    Returns:
        (stop - start, d).
    """
    i = torch.arange(start, stop, dtype=torch.float64, device=like.device)[:, None]
    j = torch.arange(0, dim, 2, dtype=torch.float64, device=like.device)
    angles = i / 10_000 ** (j / dim)
    return torch.stack([angles.sin(), angles.cos()], 2).flatten(1)[:, :dim].to(like.dtype)


class SinusoidalPositions(nn.Module):
    """x + P with the sinusoidal P: (b, t, d), the first token at position `start`, -> (b, t, d)."""

    def forward(self, x: Tensor, start: int = 0) -> Tensor:
        return x + sinusoidal(start, start + x.shape[1], x.shape[2], x)


class LearnedPositions(nn.Module):
    """x + P with a parameter P: (b, t, d), the first token at position `start`, -> (b, t, d).

    Args:
        max_len: the number of positions.
        dim: d.

    Raises:
        ValueError: when called with a token at a position that there is not.
    """

    def __init__(self, max_len: int, dim: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(1, max_len, dim).normal_(std=0.02))

    def forward(self, x: Tensor, start: int = 0) -> Tensor:
        most = self.weight.shape[1]
        if start + x.shape[1] > most:
            raise ValueError(f"max_len is {most}, but there are {start + x.shape[1]} tokens.")
        return x + self.weight[:, start : start + x.shape[1]]

"""Positions of tokens (Vaswani et al., 2017; d2l 11.6)."""

import torch
from torch import Tensor


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

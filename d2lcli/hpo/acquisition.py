"""What a point of a search is worth, from the mean and standard deviation of a surrogate; smaller values are better.

Legend: mu and sigma (m,), of m points; f the best value so far; z = (f - mu) / sigma; phi and Phi the density and the
distribution function of the standard normal.  The larger an acquisition, the better.
"""

import math
from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import Tensor

Acquisition: TypeAlias = Callable[[Tensor, Tensor, float], Tensor]

HALF_LOG_TWO_PI = 0.5 * math.log(2 * math.pi)
HALF_LOG_HALF_PI = 0.5 * math.log(math.pi / 2)
FAR = -1e5  # z below which the tail is its leading term


def ei(mu: Tensor, sigma: Tensor, best: float) -> Tensor:
    """Expected improvement, E[max(f - y, 0)] = (f - mu) Phi(z) + sigma phi(z) (Jones et al., 1998)."""
    z = (best - mu) / sigma
    value: Tensor = (best - mu) * torch.special.ndtr(z) + sigma * torch.exp(-0.5 * z.square() - HALF_LOG_TWO_PI)
    return value


def log_ei(mu: Tensor, sigma: Tensor, best: float) -> Tensor:
    """The logarithm of the expected improvement, also where that is too small for a number (Ament et al., 2023)."""
    z = (best - mu) / sigma
    near = z.clamp_min(-1.0)
    direct = torch.log(torch.exp(-0.5 * near.square() - HALF_LOG_TWO_PI) + near * torch.special.ndtr(near))
    middle = z.clamp(FAR, -1.0)
    ratio = torch.log(torch.special.erfcx(-middle / math.sqrt(2)) * middle.abs()) + HALF_LOG_HALF_PI
    tail = -0.5 * middle.square() - HALF_LOG_TWO_PI + torch.log(-torch.expm1(ratio))
    far = -0.5 * z.square() - HALF_LOG_TWO_PI - 2 * torch.log(z.abs().clamp_min(1.0))
    return torch.log(sigma) + torch.where(z > -1, direct, torch.where(z > FAR, tail, far))


def pi(mu: Tensor, sigma: Tensor, best: float) -> Tensor:
    """Probability of improvement, Phi(z) (Kushner, 1964)."""
    value: Tensor = torch.special.ndtr((best - mu) / sigma)
    return value


def lcb(kappa: float) -> Acquisition:
    """The negative lower confidence bound, -(mu - kappa sigma) (Srinivas et al., 2010, for a minimum)."""
    return lambda mu, sigma, best: kappa * sigma - mu

"""Nadaraya-Watson kernel regression (Nadaraya, 1964; Watson, 1964; d2l 11.2): attention whose keys are the data.

Legend: n queries, m keys, d features, q outputs.
"""

import math
from typing import Literal

import torch
from torch import Tensor, nn

from d2lcli.nn.checks import require_positive

Kernel = Literal["gaussian", "boxcar", "constant", "epanechnikov", "epanechnikov_true", "triangular"]
FAR = 1e18  # further than any key, and its square is still finite


def _gaussian(u: Tensor) -> Tensor:
    squares = u.square()
    return torch.exp((squares.amin(1, keepdim=True) - squares) / 2)  # a common factor of a row, which is divided out


def _triangular(u: Tensor) -> Tensor:
    return (1 - u).clamp(min=0)


KERNELS = {
    "gaussian": _gaussian,
    "boxcar": lambda u: (u <= 1).to(u.dtype) + 0 * u,  # 0 * u: a gradient, which is 0
    "constant": lambda u: torch.ones_like(u) + 0 * u,
    "epanechnikov": _triangular,  # what the book calls so
    "epanechnikov_true": lambda u: (1 - u.square()).clamp(min=0),
    "triangular": _triangular,
}


class NadarayaWatson(nn.Module):
    """f(x) = sum_i v_i k(|x - x_i| / sigma) / sum_j k(|x - x_j| / sigma), with x_i, v_i the data of `remember`.

    In training a query does not see keys that are equal to it: it is one of them, and with ever smaller sigma it would
    be predicted without error (leave one out).  A query out of reach of all keys takes the nearest.  Before `remember`
    there are no keys, and every output is 0.

    Attributes:
        log_sigma: ln sigma, which is learned.
        keys: (m, d).
        values: (m, q).
        remembered: the names of both, whose sizes are those of the data: a checkpoint may bring others.
    """

    remembered = ("keys", "values")
    keys: Tensor
    values: Tensor

    def __init__(self, num_outputs: int, kernel: Kernel, sigma: float) -> None:
        super().__init__()
        self.kernel = kernel
        self.log_sigma = nn.Parameter(torch.tensor(math.log(sigma)))
        self.register_buffer("keys", torch.zeros(0, 0))
        self.register_buffer("values", torch.zeros(0, num_outputs))

    def remember(self, inputs: Tensor, targets: Tensor) -> None:
        """Take keys (m, ...) and values (m,) or (m, q)."""
        self.keys, self.values = inputs.flatten(1).clone(), targets.reshape(len(targets), -1).clone()

    def weights(self, queries: Tensor) -> Tensor:
        """What each key counts for each query (n, d): (n, m), each row with sum 1."""
        distances = torch.cdist(queries, self.keys, compute_mode="donot_use_mm_for_euclid_dist")
        own = (distances == 0) & self.training
        u = (distances / self.log_sigma.exp()).masked_fill(own, FAR)
        counts = KERNELS[self.kernel](u).masked_fill(own, 0.0)
        reached = counts.sum(1, keepdim=True) > 0
        nearest = (u <= u.amin(1, keepdim=True)).to(u.dtype) + 0 * u
        counts = torch.where(reached, counts, nearest)
        return counts / counts.sum(1, keepdim=True)

    def forward(self, inputs: Tensor) -> Tensor:
        """(n, ...) -> (n, q)."""
        if not len(self.keys):
            return inputs.new_zeros(len(inputs), self.values.shape[1]) + 0 * self.log_sigma
        return self.weights(inputs.flatten(1)) @ self.values


def nadaraya_watson(*, num_outputs: int = 1, kernel: Kernel = "gaussian", sigma: float = 1.0) -> NadarayaWatson:
    """Kernel regression on the training data itself; the bandwidth sigma is its one parameter.

    Args:
        num_outputs: q.
        kernel: of the distance u in bandwidths: gaussian exp(-u^2 / 2); boxcar 1 for u <= 1; constant 1; triangular
            max(0, 1 - u), which the book calls epanechnikov; epanechnikov_true 3/4 max(0, 1 - u^2).  boxcar and
            constant have no gradient, so that sigma stays as it is.
        sigma: the bandwidth to begin with, in units of the features.

    Raises:
        ValueError: a size is below 1, or sigma not above 0.
    """
    require_positive(num_outputs=num_outputs)
    if not 0 < sigma < math.inf:
        raise ValueError(f"sigma must be above 0 and finite, but it is {sigma}.")
    return NadarayaWatson(num_outputs, kernel, sigma)

"""Exact Gaussian-process regression in float64: marginal likelihood, posterior, and a fit without modules (d2l 18.3).

Legend: n training points, m queries, d features, q outputs that share one covariance; P parameters of the kernel, and
one more, the variance of the noise; raw (P + 1,), the numbers whose softplus these are.

Source: Rasmussen and Williams (2006), algorithm 2.1 and equations 2.22 to 2.30 and 5.8 to 5.9.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import softplus

from d2lcli.errors import MemoryFullError
from d2lcli.nn.kernels import Kernel
from d2lcli.nn.quasi_newton import minimise

JITTERS = (0.0, 1e-10, 1e-9, 1e-8, 1e-7, 1e-6, 1e-5, 1e-4)  # shares of the mean variance
MATRICES = 8  # of n x n numbers, that a likelihood and its gradient hold at once
NUMBER_BYTES = 8
PROGRESS = 1e-6  # of the likelihood of a point: less is not worth another evaluation


@dataclass(frozen=True)
class Solved:
    """A covariance K = L L^T of observations y.

    Args:
        factor: L, (n, n), lower triangular.
        weights: K^-1 y, (n, q).
        jitter: what had to be added to the diagonal of K so that L exists; 0 where nothing had.
    """

    factor: Tensor
    weights: Tensor
    jitter: float


@dataclass(frozen=True)
class Evidence:
    """log N(y; 0, K) in its three terms, summed over the outputs.

    Args:
        data_fit: -y^T K^-1 y / 2.
        complexity: -log det K / 2.
        constant: -n log(2 pi) / 2.
        jitter: see `Solved`.
        gradient: by raw, (P + 1,).
        slope: by y, (n, q).
    """

    data_fit: float
    complexity: float
    constant: float
    jitter: float
    gradient: Tensor
    slope: Tensor

    @property
    def total(self) -> float:
        """The log marginal likelihood."""
        return self.data_fit + self.complexity + self.constant


def inverse_softplus(values: Tensor) -> Tensor:
    """The raw numbers of positive ones."""
    return values + torch.log(-torch.expm1(-values))


def identity(like: Tensor) -> Tensor:
    """I of the size, type and device of a square matrix."""
    return torch.eye(len(like), dtype=like.dtype, device=like.device)


def cholesky(covariance: Tensor) -> tuple[Tensor, float]:
    """L of a covariance (n, n) = L L^T, and the jitter that had to be added to its diagonal.

    Raises:
        ValueError: it is far from positive definite, or not finite.
    """
    scale = 0.0
    for share in JITTERS:
        if share and not scale:
            scale = float(covariance.diagonal().mean())
        jitter = share * scale
        shifted = covariance + jitter * identity(covariance) if share else covariance
        factor, failed = torch.linalg.cholesky_ex(shifted)
        if not int(failed):
            return factor, jitter
    raise ValueError(f"a covariance of {len(covariance)} points is not positive definite, even with {jitter:.1e} added")


def solve(covariance: Tensor, y: Tensor) -> Solved:
    """Factorise the covariance of y (n, q), noise included."""
    factor, jitter = cholesky(covariance)
    return Solved(factor, torch.cholesky_solve(y, factor), jitter)


def noisy_covariance(kernel: Kernel, raw: Tensor, x: Tensor) -> Tensor:
    """K of the observations at x, (n, n), in operations that autograd can follow."""
    values = softplus(raw)
    covariance = kernel.square(values[:-1], x)[0]
    return covariance + values[-1] * identity(covariance)


def evidence(kernel: Kernel, raw: Tensor, x: Tensor, y: Tensor) -> Evidence:
    """The log marginal likelihood of y (n, q) at x (n, d), and its gradient in closed form.

    With a = K^-1 y it is sum_ij (a a^T - q K^-1)_ij / 2 dK_ij: one inverse for all parameters, where autograd would
    go back through the factorisation.
    """
    with torch.no_grad():
        values = softplus(raw)
        covariance, pull = kernel.square(values[:-1], x)
        covariance.diagonal().add_(values[-1])
        solved = solve(covariance, y)
        n, q = y.shape
        slack = torch.addmm(torch.cholesky_inverse(solved.factor), solved.weights, solved.weights.T, beta=-q)
        gradient = torch.cat([pull(slack), slack.trace().reshape(1)]) * torch.sigmoid(raw) / 2
        data_fit = -0.5 * float((y * solved.weights).sum())
        complexity = -q * float(solved.factor.diagonal().log().sum())
        constant = -0.5 * q * n * math.log(2 * math.pi)
    return Evidence(data_fit, complexity, constant, solved.jitter, gradient, -solved.weights)


def plain_evidence(kernel: Kernel, raw: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """The same value, a scalar that autograd can differentiate any number of times, through the factorisation."""
    covariance = noisy_covariance(kernel, raw, x)
    with torch.no_grad():
        _, jitter = cholesky(covariance)
    factor = torch.linalg.cholesky(covariance + jitter * identity(covariance))
    white = torch.linalg.solve_triangular(factor, y, upper=False)
    logs = factor.diagonal().log().sum()
    total: Tensor = -0.5 * white.square().sum() - y.shape[1] * (logs + 0.5 * len(x) * math.log(2 * math.pi))
    return total


@dataclass(frozen=True)
class Posterior:
    """What is known of the function after n observations; of none, it is the prior.

    Args:
        kernel: of the function over the shifted and scaled observations.
        values: positive parameters, (P + 1,).
        x: (n, d).
        solved: see `Solved`.
        shift, scale: (q,) each; an observation is shift + scale (f(x) + noise).
    """

    kernel: Kernel
    values: Tensor
    x: Tensor
    solved: Solved
    shift: Tensor
    scale: Tensor

    @property
    def noise(self) -> Tensor:
        """The variance of the noise of each output, (q,)."""
        return self.values[-1] * self.scale.square()

    def predict(self, queries: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and variance of the function, without noise, at queries (m, d): (m, q) each."""
        across = self.kernel.cross(self.values[:-1], queries, self.x)  # (m, n)
        white = torch.linalg.solve_triangular(self.solved.factor, across.T, upper=False)  # (n, m)
        variance = (self.kernel.diagonal(self.values[:-1], queries) - white.square().sum(0)).clamp_min(0)
        return self.shift + self.scale * (across @ self.solved.weights), variance[:, None] * self.scale.square()

    def sample(self, queries: Tensor, count: int, generator: torch.Generator) -> tuple[Tensor, float]:
        """Functions drawn at queries (m, d): (count, m, q), and the jitter that this took."""
        across = self.kernel.cross(self.values[:-1], queries, self.x)
        white = torch.linalg.solve_triangular(self.solved.factor, across.T, upper=False)
        covariance = self.kernel.square(self.values[:-1], queries)[0] - white.T @ white
        factor, jitter = cholesky(covariance)
        q = len(self.shift)
        noise = torch.randn(count, len(queries), q, generator=generator, dtype=torch.float64).to(queries)
        return self.predict(queries)[0] + self.scale * (factor @ noise), jitter


def condition(kernel: Kernel, raw: Tensor, x: Tensor, y: Tensor, shift: Tensor, scale: Tensor) -> Posterior:
    """The posterior of observations y (n, q) at x (n, d)."""
    with torch.no_grad():
        return Posterior(
            kernel, softplus(raw), x, solve(noisy_covariance(kernel, raw, x), (y - shift) / scale), shift, scale
        )


def require_memory(n: int, device: torch.device) -> None:
    """Refuse more points than fit into memory.

    Raises:
        MemoryFullError: the matrices are larger than what is free.
    """
    import psutil

    needed = MATRICES * NUMBER_BYTES * n * n
    free = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else psutil.virtual_memory().available
    if needed > free:
        sizes = f"{needed / 2**30:,.1f} GiB, and {free / 2**30:,.1f} are free"
        fitting = math.isqrt(free // (MATRICES * NUMBER_BYTES)) // 100 * 100
        raise MemoryFullError(
            f"an exact Gaussian process on {n:,} points takes {sizes}", f"take fewer points: data.limit={fitting}"
        )


@dataclass(frozen=True)
class Fitted:
    """A fitted Gaussian process.

    Args:
        posterior: see `Posterior`.
        raw: the parameters, to begin another fit with.
        log_likelihood: of y, in its own unit.
    """

    posterior: Posterior
    raw: Tensor
    log_likelihood: float

    def predict(self, queries: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and variance of the function, without noise: (m, q) each."""
        return self.posterior.predict(queries)


def fit(
    x: Tensor,
    y: Tensor,
    kernel: str = "matern52",
    *,
    ard: bool = True,
    start: Tensor | None = None,
    restarts: int = 2,
    candidates: int = 8,
    max_evaluations: int = 50,
    log_prior: Callable[[Tensor], tuple[float, Tensor]] | None = None,
    seed: int = 0,
) -> Fitted:
    """Fit a Gaussian process to y by maximising the marginal likelihood, with L-BFGS from several starts.

    y is standardised within, and predictions are in its own unit.

    Args:
        x: (n, d), float64, its features of like size.
        y: (n,) or (n, q).
        kernel: see `Kernel`.
        ard: a lengthscale for each feature.
        start: raw parameters (P + 1,) to begin with, such as those of the fit before; None is a guess from x.
        restarts: starts from which the search goes on: `start` and the best others of `candidates`.
        candidates: points around `start` at which the likelihood is looked at.
        max_evaluations: of the likelihood, for each start.
        log_prior: the logarithm of a density of the positive parameters (P + 1,), and its gradient; it is added to the
            likelihood.
        seed: decides the candidates.

    Raises:
        ValueError: no points, numbers that are not finite, or shapes that do not belong together.
        MemoryFullError: more points than fit into memory.
    """
    y = y[:, None] if y.ndim == 1 else y
    check_points(x, y)
    require_memory(len(x), x.device)
    made = Kernel(kernel, x.shape[1], ard)
    shift, scale = moments(y)
    standard = (y - shift) / scale
    first = start_guess(made, x) if start is None else start

    def negative(raw: Tensor) -> tuple[float, Tensor]:
        try:
            found = evidence(made, raw, x, standard)
        except ValueError:
            return math.inf, torch.zeros_like(raw)
        value, gradient = found.total, found.gradient
        if log_prior is not None:
            density, slope = log_prior(softplus(raw))
            value, gradient = value + density, gradient + slope * torch.sigmoid(raw)
        return -value / y.numel(), gradient / -y.numel()

    others = first + torch.randn(
        candidates, len(first), generator=torch.Generator().manual_seed(seed), dtype=torch.float64
    ).to(first)
    ranked = sorted((negative(raw)[0], i) for i, raw in enumerate(others)) if restarts > 1 else []
    starts = [first, *(others[i] for _, i in ranked[: restarts - 1])]
    found = [minimise(negative, raw, max_evaluations=max_evaluations, progress=PROGRESS) for raw in starts]
    raw, value = min(found, key=lambda pair: pair[1])
    total = -value * y.numel() - (log_prior(softplus(raw))[0] if log_prior is not None else 0.0)
    return Fitted(condition(made, raw, x, y, shift, scale), raw, total - len(y) * float(scale.log().sum()))


def moments(y: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each output (n, q), 1 for one that does not vary."""
    spread = y.std(0, correction=0)
    return y.mean(0), torch.where(spread > 0, spread, torch.ones_like(spread))


def check_points(x: Tensor, y: Tensor) -> None:
    """Refuse points that no Gaussian process can be fitted to.

    Raises:
        ValueError: see `fit`.
    """
    if not len(x) or x.ndim != 2 or not x.shape[1] or len(y) != len(x):
        raise ValueError(
            f"x must have the shape (n, d), none of them 0, and y n rows: {tuple(x.shape)}, {tuple(y.shape)}"
        )
    for name, points in (("x", x), ("y", y)):
        bad = (~torch.isfinite(points)).flatten(1).any(1).nonzero()
        if len(bad):
            raise ValueError(f"{name} of point {int(bad[0])} is not a finite number")


def start_guess(kernel: Kernel, x: Tensor) -> Tensor:
    """Raw parameters to begin with: lengthscales and periods by how far x spreads, little noise, and 1."""
    reach = max(float(x.std(0, correction=0).mean()), 1e-6) * math.sqrt(x.shape[1])
    spread = ("lengthscale", "period")
    values = [reach if key.endswith(spread) else 1.0 for key, n in kernel.sizes.items() for _ in range(n)]
    return inverse_softplus(torch.tensor([*values, 0.01], dtype=torch.float64).to(x))

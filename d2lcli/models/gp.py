"""Gaussian-process regression (Rasmussen and Williams, 2006; d2l 18): the training data are part of the model.

Everything is computed in float64, whatever the precision of a run.

Legend: n training points, m queries, d features, q outputs that share one covariance.
"""

import math
import warnings
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from d2lcli.errors import DataError
from d2lcli.nn.checks import require_positive
from d2lcli.nn.gaussian_process import (
    Evidence,
    Posterior,
    check_points,
    condition,
    evidence,
    identity,
    inverse_softplus,
    moments,
    noisy_covariance,
    plain_evidence,
    require_memory,
)
from d2lcli.nn.kernels import Kernel

Mean = Literal["zero", "constant"]
STARTS = ("variance", "lengthscale", "period")
FAR = 10.0  # a mean that far from 0, or a standard deviation that many times 1 or below, is far from the prior


class _Known(torch.autograd.Function):
    """The log marginal likelihood where it and its gradient are known already.

    Where a second derivative is asked for, the first one is computed anew, by autograd.
    """

    @staticmethod
    def forward(ctx: Any, raw: Tensor, y: Tensor, x: Tensor, kernel: Kernel, known: Evidence) -> Tensor:
        ctx.save_for_backward(raw, y, x)
        ctx.kernel, ctx.known = kernel, known
        return raw.new_tensor(known.total)

    @staticmethod
    def backward(ctx: Any, *outside: Tensor) -> tuple[Tensor | None, ...]:
        gradient, slope = ctx.known.gradient, ctx.known.slope
        if torch.is_grad_enabled():
            *wanted, x = ctx.saved_tensors
            raw, y = (each if each.requires_grad else each.detach().requires_grad_() for each in wanted)
            value = plain_evidence(ctx.kernel, raw, x, y)
            gradient, slope = torch.autograd.grad(value, (raw, y), create_graph=True)
        return outside[0] * gradient, outside[0] * slope, None, None, None


class GaussianProcess(nn.Module):
    """f ~ GP(mean, kernel), y = f(x) + e with e ~ N(0, noise), given the data of `remember`; before it, the prior.

    Attributes:
        raw: the parameters before softplus, which makes them positive, by name.
        names: those names in the order of the kernel's parameters; "noise" is the last.
        constant: the mean (q,), where it is learned.
        inputs: (n, d).
        targets: (n, q).
        remembered: the names of both, whose sizes are those of the data: a checkpoint may bring others.
        evidence: the last log marginal likelihood in its terms, of the targets as the kernel sees them.
        jitter: the most that had to be added to the diagonal of a covariance so far.
    """

    remembered = ("inputs", "targets")
    inputs: Tensor
    targets: Tensor
    constant: nn.Parameter | None

    def __init__(
        self, kernel: Kernel, num_outputs: int, mean: Mean, standardize: bool | None, starts: dict[str, float | None]
    ) -> None:
        super().__init__()
        self.kernel, self.standardize = kernel, standardize
        self.names = [*kernel.sizes, "noise"]
        sizes = kernel.sizes | {"noise": 1}
        self.raw = nn.ParameterDict({key: _raw(starts.get(key.rpartition("_")[2]), n) for key, n in sizes.items()})
        constant = torch.zeros(num_outputs, dtype=torch.float64)
        self.register_parameter("constant", nn.Parameter(constant) if mean == "constant" else None)
        self.register_buffer("inputs", torch.zeros(0, kernel.num_features, dtype=torch.float64))
        self.register_buffer("targets", torch.zeros(0, num_outputs, dtype=torch.float64))
        self.evidence: Evidence | None = None
        self.jitter = 0.0
        self._posterior: tuple[Any, Posterior] | None = None

    def remember(self, inputs: Tensor, targets: Tensor) -> None:
        """Take points (n, ...) and targets (n,) or (n, q).

        Raises:
            DataError: no points, or numbers that are not finite.
            MemoryFullError: more points than fit into memory.
        """
        x = inputs.flatten(1).double().clone()
        y = (targets[:, None] if targets.ndim == 1 else targets.flatten(1)).double().clone()
        try:
            check_points(x, y)
        except ValueError as error:
            raise DataError(f"a Gaussian process: {error}") from None
        require_memory(len(x), x.device)
        self.inputs, self.targets = x, y

    def flat(self) -> Tensor:
        """All raw parameters, (P + 1,)."""
        return torch.cat([self.raw[name] for name in self.names]).double()  # a ParameterDict sorts its own

    def parameter_values(self) -> dict[str, list[float]]:
        """The positive parameters by name, of the targets as the kernel sees them, and the mean where it is learned."""
        found = {name: softplus(self.raw[name].detach().double()).tolist() for name in self.names}
        return found | ({} if self.constant is None else {"constant": self.constant.tolist()})

    def _moments(self) -> tuple[Tensor, Tensor]:
        """What is taken from the targets, and what they are divided by, before the kernel sees them: (q,) each."""
        q = self.targets.shape[1]
        shift, scale = self.targets.new_zeros(q), self.targets.new_ones(q)
        if len(self.targets) and self.standardize is not False:
            mean, spread = moments(self.targets)
            if self.standardize or bool((torch.stack([mean.abs(), spread, 1 / spread]) > FAR).any()):
                shift, scale = mean, spread
        return (shift, scale) if self.constant is None else (shift + scale * self.constant, scale)

    def log_marginal_likelihood(self) -> Tensor:
        """log p(targets | inputs), a scalar, summed over the outputs; its gradient is computed in closed form."""
        raw = self.flat()
        shift, scale = self._moments()
        y = (self.targets - shift) / scale
        self.evidence = evidence(self.kernel, raw.detach(), self.inputs, y.detach())
        self._tell(self.evidence.jitter)
        total: Tensor = _Known.apply(raw, y, self.inputs, self.kernel, self.evidence)  # type: ignore[no-untyped-call]
        return total - len(y) * scale.log().sum()

    def posterior(self) -> Posterior:
        """The posterior of the parameters as they are."""
        with torch.inference_mode(False), torch.no_grad():  # what is kept may be used where gradients are wanted
            raw, (shift, scale) = self.flat(), self._moments()
            seen = (*raw.tolist(), *shift.tolist(), self.inputs._version, self.targets._version)
            key = (seen, self.inputs.data_ptr(), self.targets.data_ptr())
            if self._posterior is None or self._posterior[0] != key:
                found = condition(self.kernel, raw, self.inputs, self.targets, shift, scale)
                self._tell(found.solved.jitter)
                self._posterior = key, found
            return self._posterior[1]

    def prior(self) -> Posterior:
        """The same, as if no data had been seen."""
        with torch.no_grad():
            shift, scale = self._moments()
            return condition(self.kernel, self.flat(), self.inputs[:0], self.targets[:0], shift, scale)

    def _tell(self, jitter: float) -> None:
        if jitter > self.jitter:
            self.jitter = jitter
            warnings.warn(
                f"the covariance of {len(self.inputs)} points is not positive definite in float64: "
                f"{jitter:.1e} was added to its diagonal (points that are nearly equal, or very little noise)",
                RuntimeWarning,
                stacklevel=2,
            )

    def predict(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and variance of f, without noise, at (m, ...): (m, q) each, float64; `posterior().noise` is to add."""
        with torch.no_grad():
            return self.posterior().predict(inputs.flatten(1).double())

    def forward(self, inputs: Tensor) -> Tensor:
        """The posterior mean: (m, ...) -> (m, q)."""
        queries = inputs.flatten(1).double()
        if not len(self.inputs):
            constant = self.flat()[0] * 0 if self.constant is None else self.flat()[0] * 0 + self.constant
            return (queries.new_zeros(len(queries), self.targets.shape[1]) + constant).to(inputs.dtype)
        if not torch.is_grad_enabled():
            return self.predict(inputs)[0].to(inputs.dtype)
        return self._differentiable_mean(queries).to(inputs.dtype)

    def _differentiable_mean(self, queries: Tensor) -> Tensor:
        """The posterior mean, which autograd can follow: K^-1 y as K_0^-1 y + K_0^-1 (y - K K_0^-1 y) around K_0 = K.

        So no derivative has to pass through the factorisation.
        """
        raw, (shift, scale) = self.flat(), self._moments()
        solved = self.posterior().solved
        covariance = noisy_covariance(self.kernel, raw, self.inputs)
        covariance = covariance + solved.jitter * identity(covariance)
        rest = (self.targets - shift) / scale - covariance @ solved.weights
        weights = solved.weights + torch.cholesky_solve(rest, solved.factor)
        across = self.kernel.cross(softplus(raw)[:-1], self.inputs, queries)
        return shift + scale * (across.T @ weights)


def _raw(start: float | None, size: int) -> nn.Parameter:
    """A raw parameter whose softplus is `start`, or log 2 = .693, which is that of 0."""
    value = 0.0 if start is None else float(inverse_softplus(torch.tensor(start, dtype=torch.float64, device="cpu")))
    return nn.Parameter(torch.full((size,), value, dtype=torch.float64))


def gp(
    *,
    in_features: int = 1,
    num_outputs: int = 1,
    kernel: str = "rbf",
    ard: bool = False,
    mean: Mean = "zero",
    standardize: bool | None = None,
    noise: float | None = None,
    variance: float | None = None,
    lengthscale: float | None = None,
    ls2: float | None = None,
    period: float | None = None,
) -> GaussianProcess:
    """A Gaussian process on the training data, exact: its cost grows with the cube of their number.

    The parameters are softplus of what is learned; those without a start begin with log 2 = .693, and lengthscales with
    sqrt(d) times that, because distances grow so.

    Args:
        in_features: d.
        num_outputs: q.
        kernel: a sum of products of rbf, matern32, matern52, periodic, linear and nn_kernel, such as
            "rbf + periodic * linear"; each product has a variance.
        ard: a lengthscale for each feature (automatic relevance determination), in rbf, matern32 and matern52.
        mean: of the prior: zero, or a constant that is learned.
        standardize: take the mean from the targets and divide them by their standard deviation before the kernel sees
            them; predictions and likelihoods are in the targets' own unit all the same.  None does so where the mean is
            further from 0 than 10, or the deviation outside .1 .. 10, as that of prices is.
        noise: the variance of the noise to begin with.
        variance: of each product to begin with.
        lengthscale: of all factors that have one, to begin with.
        ls2: the square of the lengthscale, in its place, as the book's own code has it.
        period: of the periodic factors, to begin with.

    Raises:
        ValueError: the kernel is unknown, a number is not above 0, or is for a parameter that the kernel does not have.
    """
    require_positive(in_features=in_features, num_outputs=num_outputs)
    if ls2 is not None and lengthscale is not None:
        raise ValueError("ls2 is the square of lengthscale: give one of the two")
    length = lengthscale if ls2 is None else math.sqrt(max(ls2, 0.0))
    given = {"noise": noise, "variance": variance, "lengthscale": lengthscale, "ls2": ls2, "period": period}
    for name, value in given.items():
        if value is not None and not 0 < value < math.inf:
            raise ValueError(f"{name}={value!r} must be above 0 and finite")
    made = Kernel(kernel, in_features, ard)
    starts = {"noise": noise, "variance": variance, "lengthscale": length, "period": period}
    if length is None and in_features > 1:
        starts["lengthscale"] = math.log(2) * math.sqrt(in_features)
    for name in STARTS:
        if given[name] is not None and not any(key.endswith(name) for key in made.sizes):
            raise ValueError(f"{name} is given, but the kernel '{kernel}' has none")
    return GaussianProcess(made, num_outputs, mean, standardize, starts)

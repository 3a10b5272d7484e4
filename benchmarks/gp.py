"""Exact Gaussian processes: likelihood with gradient, fit and prediction, beside scikit-learn, gpytorch and autograd.

    python benchmarks/gp.py [--points 1000] [--features 1] [--ard] [--rounds 7] [--threads 1] [--json FILE]

The kernel is variance x rbf + noise in float64, parameters and data are the same for all, and the targets are
sin(x) + sin(4 x) / 2 + noise of the first feature.  gpytorch (extra `gp`) factorises by Cholesky's method, as all the
others do, not by conjugate gradients: so all compute the same numbers, which is checked before anything is timed.
"autograd" is the likelihood written in torch, with `backward` through its factorisation.  The prediction is mean and
variance at 1,000 places, the factorisation at hand.  The fit is 15 evaluations of likelihood and gradient from one
start: by our L-BFGS, by SciPy's for scikit-learn, by torch's for gpytorch and autograd.

The last line is a whole fit of 50 points in 12 dimensions as Bayesian optimisation needs it, restarts included.

Figures are medians over interleaved rounds, in milliseconds of the CPU clock (the wall clock with several threads); a
ratio above 1 says how many times d2l is faster.
"""

import argparse
import json
import math
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import torch
from threadpoolctl import threadpool_limits
from torch import Tensor
from torch.nn.functional import softplus

from d2lcli.nn.gaussian_process import condition, evidence, fit, inverse_softplus
from d2lcli.nn.kernels import Kernel
from d2lcli.nn.quasi_newton import minimise

VARIANCE, LENGTHSCALE, NOISE = 0.9, 0.6, 0.3
EVALUATIONS = 15
Work = dict[str, Callable[[], Any]]  # likelihood, fit, predict


def problem(points: int, features: int) -> tuple[Tensor, Tensor, Tensor]:
    """x (n, d), y (n,), and places to predict (1000, d)."""
    generator = torch.Generator().manual_seed(0)
    x, queries = (5 * torch.rand(n, features, generator=generator, dtype=torch.float64) for n in (points, 1000))
    noise = 0.25 * torch.randn(points, generator=generator, dtype=torch.float64)
    return x, torch.sin(x[:, 0]) + torch.sin(4 * x[:, 0]) / 2 + noise, queries


def raw_start(features: int, ard: bool) -> Tensor:
    """The parameters before softplus: variance, lengthscales, noise."""
    lengths = [LENGTHSCALE * math.sqrt(features)] * (features if ard else 1)
    return inverse_softplus(torch.tensor([VARIANCE, *lengths, NOISE], dtype=torch.float64))


def d2l_work(x: Tensor, y: Tensor, queries: Tensor, ard: bool) -> Work:
    """The product."""
    kernel, start, targets = Kernel("rbf", x.shape[1], ard), raw_start(x.shape[1], ard), y[:, None]

    def likelihood() -> tuple[float, Tensor]:
        found = evidence(kernel, start, x, targets)
        return found.total, found.gradient

    def negative(raw: Tensor) -> tuple[float, Tensor]:
        found = evidence(kernel, raw, x, targets)
        return -found.total / len(y), found.gradient / -len(y)

    zero, one = torch.zeros(1, dtype=torch.float64), torch.ones(1, dtype=torch.float64)
    posterior = condition(kernel, start, x, targets, zero, one)
    return {
        "likelihood": likelihood,
        "fit": lambda: minimise(negative, start, max_evaluations=EVALUATIONS, tolerance=0.0, progress=-1.0),
        "predict": lambda: posterior.predict(queries)[0],
    }


def autograd_work(x: Tensor, y: Tensor, queries: Tensor, ard: bool) -> Work:
    """The same in a few lines of torch, differentiated through Cholesky's factorisation."""
    parameters = raw_start(x.shape[1], ard).requires_grad_()
    identity = torch.eye(len(x), dtype=torch.float64)

    def value() -> Tensor:
        values = softplus(parameters)
        u = x / values[1:-1]
        norms = u.square().sum(1)
        squares = (norms[:, None] + norms - 2 * u @ u.T).clamp_min(0)
        factor = torch.linalg.cholesky(values[0] * torch.exp(-squares / 2) + values[-1] * identity)
        white = torch.linalg.solve_triangular(factor, y[:, None], upper=False)
        logs = factor.diagonal().log().sum()
        return -0.5 * white.square().sum() - logs - 0.5 * len(x) * math.log(2 * math.pi)

    def likelihood() -> tuple[float, Tensor]:
        found = value()
        return found.item(), torch.autograd.grad(found, parameters)[0]

    return {"likelihood": likelihood, "fit": lambda: _torch_fit([parameters], lambda: -value() / len(y))}


def _torch_fit(parameters: list[Any], loss: Callable[[], Tensor]) -> None:
    """The evaluations of torch's L-BFGS; the parameters are put back."""
    before = [parameter.detach().clone() for parameter in parameters]
    options = {"max_iter": 1000, "max_eval": EVALUATIONS, "tolerance_grad": 0.0, "tolerance_change": 0.0}
    optimizer = torch.optim.LBFGS(parameters, line_search_fn="strong_wolfe", **options)

    def closure() -> Tensor:
        optimizer.zero_grad()
        found = loss()
        found.backward()
        return found

    optimizer.step(closure)
    with torch.no_grad():
        for parameter, value in zip(parameters, before):
            parameter.copy_(value)


def sklearn_work(x: Tensor, y: Tensor, queries: Tensor, ard: bool) -> Work:
    """scikit-learn, whose gradient is analytic and by the logarithms of the parameters."""
    import scipy.optimize
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel

    values = softplus(raw_start(x.shape[1], ard)).tolist()
    lengths = values[1:-1] if ard else values[1]
    kernel = ConstantKernel(values[0]) * RBF(lengths) + WhiteKernel(values[-1])
    model = GaussianProcessRegressor(kernel, alpha=0.0, optimizer=None).fit(x.numpy(), y.numpy())
    theta = model.kernel_.theta

    def likelihood() -> tuple[float, Tensor]:
        total, slope = model.log_marginal_likelihood(theta, eval_gradient=True)
        raw = raw_start(x.shape[1], ard)
        return total, torch.from_numpy(slope) / softplus(raw) * torch.sigmoid(raw)

    def negative(at: Any) -> tuple[float, Any]:
        total, slope = model.log_marginal_likelihood(at, eval_gradient=True, clone_kernel=False)
        return -total / len(y), -slope / len(y)

    def fit() -> None:
        left = [EVALUATIONS]

        def counted(at: Any) -> tuple[float, Any]:
            if not left[0]:
                raise StopIteration
            left[0] -= 1
            return negative(at)

        try:
            scipy.optimize.minimize(counted, theta, jac=True, method="L-BFGS-B", options={"ftol": 0.0, "gtol": 0.0})
        except StopIteration:
            pass

    at = queries.numpy()
    return {"likelihood": likelihood, "fit": fit, "predict": lambda: model.predict(at, return_std=True)[0]}


def gpytorch_work(x: Tensor, y: Tensor, queries: Tensor, ard: bool) -> Work:
    """gpytorch with exact factorisations."""
    import gpytorch

    features = x.shape[1]

    class Exact(gpytorch.models.ExactGP):  # type: ignore[misc]
        def __init__(self) -> None:
            plain = gpytorch.constraints.GreaterThan(0.0)
            super().__init__(x, y, gpytorch.likelihoods.GaussianLikelihood(noise_constraint=plain))
            self.mean_module = gpytorch.means.ZeroMean()
            inner = gpytorch.kernels.RBFKernel(ard_num_dims=features if ard else None)
            self.covar_module = gpytorch.kernels.ScaleKernel(inner)

        def forward(self, at: Tensor) -> Any:
            return gpytorch.distributions.MultivariateNormal(self.mean_module(at), self.covar_module(at))

    model = Exact().double()
    values = softplus(raw_start(features, ard))
    model.covar_module.outputscale, model.likelihood.noise = values[0], values[-1:]
    model.covar_module.base_kernel.lengthscale = values[1:-1]
    marginal = gpytorch.mlls.ExactMarginalLogLikelihood(model.likelihood, model)
    kernel = model.covar_module
    raws = [kernel.raw_outputscale, kernel.base_kernel.raw_lengthscale, model.likelihood.noise_covar.raw_noise]

    def exact(work: Callable[[], Any]) -> Callable[[], Any]:
        def run() -> Any:
            with gpytorch.settings.max_cholesky_size(10**6), gpytorch.settings.fast_computations(False, False, False):
                return work()

        return run

    def likelihood() -> tuple[float, Tensor]:
        model.train()
        found = marginal(model(x), y) * len(y)
        return found.item(), torch.cat([each.reshape(-1) for each in torch.autograd.grad(found, raws)])

    def fit() -> None:
        model.train()
        _torch_fit(list(model.parameters()), lambda: -marginal(model(x), y))

    def predict() -> Tensor:
        model.eval()
        with torch.no_grad():
            found = model(queries)
            found.variance  # noqa: B018 -- it is computed when it is asked for
            mean: Tensor = found.mean
        return mean

    return {"likelihood": exact(likelihood), "fit": exact(fit), "predict": exact(predict)}


def check(works: dict[str, Work]) -> None:
    """All compute the same likelihood, gradient and mean."""
    total, gradient = works["d2l"]["likelihood"]()
    mean = works["d2l"]["predict"]()[:, 0]
    for name, work in works.items():
        other, slope = work["likelihood"]()
        assert math.isclose(other, total, rel_tol=1e-8), f"{name}: log likelihood {other}, not {total}"
        torch.testing.assert_close(slope, gradient, rtol=1e-6, atol=1e-6)
        if "predict" in work and name != "d2l":
            torch.testing.assert_close(torch.as_tensor(work["predict"]()).reshape(-1), mean, rtol=1e-6, atol=1e-6)


def measure(works: dict[str, Work], what: str, rounds: int, clock: Callable[[], float]) -> dict[str, float]:
    """Median milliseconds of each, in turn, after a round that does not count."""
    times: dict[str, list[float]] = {name: [] for name, work in works.items() if what in work}
    for number in range(rounds + 1):
        for name in times:
            begun = clock()
            works[name][what]()
            if number:
                times[name].append(1000 * (clock() - begun))
    return {name: median(spent) for name, spent in times.items()}


def small_fit() -> Work:
    """50 points in 12 dimensions, two of which matter."""
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(50, 12, generator=generator, dtype=torch.float64)
    y = torch.sin(5 * x[:, 0]) + x[:, 1] ** 2 + 0.05 * torch.randn(50, generator=generator, dtype=torch.float64)
    return {"small fit": lambda: fit(x, y)}


def main() -> None:
    """Check that all agree, time them, print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--points", type=int, default=1000)
    parser.add_argument("--features", type=int, default=1)
    parser.add_argument("--ard", action="store_true", help="a lengthscale for each feature")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    threadpool_limits(given.threads)  # of NumPy and SciPy
    clock = time.process_time if given.threads == 1 else time.perf_counter
    warnings.simplefilter("ignore")
    data = problem(given.points, given.features)
    makers = {"d2l": d2l_work, "scikit-learn": sklearn_work, "gpytorch": gpytorch_work, "autograd": autograd_work}
    works = {name: make(*data, given.ard) for name, make in makers.items()}
    check(works)
    print(f"{given.points:,} points, {given.features} features, {given.threads} thread(s); ms, and times d2l's")
    print(f"{'':<12}{'d2l':>9}" + "".join(f"{name:>20}" for name in list(makers)[1:]))
    found = {}
    for what in ("likelihood", "fit", "predict"):
        row = found[what] = measure(works, what, max(1, given.rounds // 2) if what == "fit" else given.rounds, clock)
        cells = [
            f"{row[name]:.1f} ({row[name] / row['d2l']:.2f} x)" if name in row else "" for name in list(makers)[1:]
        ]
        print(f"{what:<12}{row['d2l']:>9.1f}" + "".join(f"{cell:>20}" for cell in cells), flush=True)
    found["small fit"] = measure({"d2l": small_fit()}, "small fit", given.rounds, clock)
    print(f"{'small fit':<12}{found['small fit']['d2l']:>9.1f}")
    if given.json:
        given.json.write_text(json.dumps(vars(given) | {"json": None, "milliseconds": found}, indent=1))


if __name__ == "__main__":
    main()

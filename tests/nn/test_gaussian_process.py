"""Gaussian-process regression without modules, against scikit-learn."""

from typing import Any

import numpy as np
import pytest
import torch
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, Matern, WhiteKernel
from test_kernels import CASES, points, vector
from torch import Tensor
from torch.nn.functional import softplus

from d2lcli.errors import MemoryFullError
from d2lcli.nn import gaussian_process
from d2lcli.nn.gaussian_process import cholesky, condition, evidence, fit, inverse_softplus, moments, plain_evidence
from d2lcli.nn.kernels import Kernel

NOISE = 0.07
every_case = pytest.mark.parametrize(
    ("text", "features", "ard", "reference", "values"), CASES, ids=[f"{case[0]}-{case[1]}" for case in CASES]
)


def problem(features: int, count: int = 30, outputs: int = 1) -> tuple[Tensor, Tensor]:
    x = points(features, count)
    generator = torch.Generator().manual_seed(4)
    noise = torch.randn(count, outputs, generator=generator, dtype=torch.float64)
    return x, torch.sin(x[:, :1]) + 0.3 * x.sum(1, keepdim=True) + 0.2 * noise


def raw_of(kernel: Kernel, values: dict[str, list[float]]) -> Tensor:
    return inverse_softplus(torch.cat([vector(kernel, values), torch.tensor([NOISE], dtype=torch.float64)]))


def regressor(reference: Any, x: Tensor, y: Tensor) -> GaussianProcessRegressor:
    made = GaussianProcessRegressor(reference + WhiteKernel(NOISE), alpha=0.0, optimizer=None)
    return made.fit(x.numpy(), y.numpy())


@every_case
def test_likelihood_and_gradient_are_scikit_learns(
    text: str, features: int, ard: bool, reference: Any, values: dict[str, list[float]]
) -> None:
    (x, y), kernel = problem(features), Kernel(text, features, ard)
    raw = raw_of(kernel, values)
    found = evidence(kernel, raw, x, y)
    model = regressor(reference, x, y)
    likelihood, slopes = model.log_marginal_likelihood(model.kernel_.theta, eval_gradient=True)
    assert found.total == pytest.approx(likelihood, rel=1e-8)
    by_log = found.gradient / torch.sigmoid(raw) * softplus(raw)
    names = [name for name in kernel.sizes for _ in range(kernel.sizes[name])] + ["noise"]
    by_log = torch.stack([2 * each if "bias" in name else each for each, name in zip(by_log, names)])
    np.testing.assert_allclose(by_log, slopes, rtol=1e-8, atol=1e-8)


@every_case
def test_the_posterior_is_scikit_learns(
    text: str, features: int, ard: bool, reference: Any, values: dict[str, list[float]]
) -> None:
    (x, y), kernel, queries = problem(features), Kernel(text, features, ard), points(features, 9, seed=5)
    zero, one = torch.zeros(1, dtype=torch.float64), torch.ones(1, dtype=torch.float64)
    posterior = condition(kernel, raw_of(kernel, values), x, y, zero, one)
    mean, deviation = regressor(reference, x, y).predict(queries.numpy(), return_std=True)
    found, variance = posterior.predict(queries)
    np.testing.assert_allclose(found[:, 0], mean.ravel(), rtol=1e-8, atol=1e-8)
    np.testing.assert_allclose(variance[:, 0] + posterior.noise, deviation**2, rtol=1e-8, atol=1e-8)


def test_the_three_terms_are_those_of_the_formula() -> None:
    (x, y), kernel = problem(2), Kernel("rbf", 2)
    found = evidence(kernel, torch.zeros(3, dtype=torch.float64), x, y)
    covariance = (ConstantKernel(np.log(2)) * RBF(np.log(2)))(x.numpy()) + np.log(2) * np.eye(30)
    known = y[:, 0].numpy()
    assert found.data_fit == pytest.approx(-0.5 * known @ np.linalg.solve(covariance, known))
    assert found.complexity == pytest.approx(-0.5 * np.linalg.slogdet(covariance)[1])
    assert found.constant == pytest.approx(-15 * np.log(2 * np.pi))
    assert found.jitter == 0.0


def test_outputs_share_a_covariance_and_add_up() -> None:
    x, y = problem(2, outputs=3)
    kernel, raw = Kernel("matern52", 2, True), torch.tensor([0.1, 0.5, -0.2, -1.0], dtype=torch.float64)
    whole, parts = evidence(kernel, raw, x, y), [evidence(kernel, raw, x, y[:, i : i + 1]) for i in range(3)]
    assert whole.total == pytest.approx(sum(part.total for part in parts))
    torch.testing.assert_close(whole.gradient, torch.stack([part.gradient for part in parts]).sum(0))


def test_the_plain_likelihood_is_the_same_and_autograd_agrees() -> None:
    (x, y), kernel = problem(2), Kernel("rbf + nn_kernel * linear", 2, True)
    raw = torch.linspace(-1, 1, kernel.size + 1, dtype=torch.float64).requires_grad_()
    found = evidence(kernel, raw.detach(), x, y)
    plain = plain_evidence(kernel, raw, x, y.requires_grad_())
    assert plain.item() == pytest.approx(found.total, rel=1e-12)
    by_raw, by_y = torch.autograd.grad(plain, (raw, y))
    torch.testing.assert_close(by_raw, found.gradient, rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(by_y, found.slope, rtol=1e-8, atol=1e-8)


def test_functions_of_the_prior_have_its_covariance() -> None:
    kernel, raw = Kernel("rbf"), torch.tensor([0.3, 0.1, -2.0], dtype=torch.float64)
    none = torch.zeros(0, 1, dtype=torch.float64)
    prior = condition(kernel, raw, none, none, torch.full((1,), 2.0).double(), torch.full((1,), 3.0).double())
    x = torch.linspace(0, 3, 5, dtype=torch.float64)[:, None]
    drawn, jitter = prior.sample(x, 200_000, torch.Generator().manual_seed(0))
    variance, length = (float(each) for each in softplus(raw)[:2])
    expected = 9 * (ConstantKernel(variance) * RBF(length))(x.numpy())
    np.testing.assert_allclose(np.cov(drawn[:, :, 0].numpy().T), expected, atol=0.08)
    np.testing.assert_allclose(drawn.mean(0)[:, 0], 2.0, atol=0.03)
    assert jitter == 0.0
    mean, spread = prior.predict(x)
    assert mean.flatten().tolist() == [2.0] * 5
    assert spread.flatten().tolist() == pytest.approx([9 * variance] * 5)


def test_functions_of_the_posterior_have_its_mean_and_variance() -> None:
    (x, y), queries = problem(1, 8), points(1, 6, seed=6)
    posterior = condition(Kernel("rbf"), torch.zeros(3).double(), x, y, *moments(y))
    drawn, _ = posterior.sample(queries, 100_000, torch.Generator().manual_seed(0))
    mean, variance = posterior.predict(queries)
    torch.testing.assert_close(drawn.mean(0), mean, rtol=0, atol=0.03)
    torch.testing.assert_close(drawn.var(0), variance, rtol=0.03, atol=1e-4)


def test_jitter_grows_until_the_covariance_can_be_factorised() -> None:
    singular = torch.ones(6, 6, dtype=torch.float64)
    factor, jitter = cholesky(singular)
    assert jitter == 1e-10
    torch.testing.assert_close(factor @ factor.T, singular + jitter * torch.eye(6, dtype=torch.float64))
    worse = singular - 1e-7 * torch.eye(6, dtype=torch.float64)
    assert cholesky(worse)[1] == pytest.approx(1e-6 * (1 - 1e-7))
    with pytest.raises(ValueError, match="not positive definite"):
        cholesky(-singular)
    with pytest.raises(ValueError, match="not positive definite"):
        cholesky(singular * torch.nan)


def test_a_fit_reaches_the_likelihood_of_scikit_learns() -> None:
    x = torch.rand(40, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    y = torch.sin(6 * x[:, 0]) + x[:, 1] ** 2
    y = 100 + 20 * (y + 0.05 * torch.randn(40, generator=torch.Generator().manual_seed(1), dtype=torch.float64))
    found = fit(x, y, "matern52", restarts=3, max_evaluations=200)
    kernel = ConstantKernel(1.0, (1e-3, 1e5)) * Matern([1.0] * 3, (1e-3, 1e4), nu=2.5) + WhiteKernel(0.01, (1e-9, 10))
    reference = GaussianProcessRegressor(kernel, alpha=0.0, normalize_y=True, n_restarts_optimizer=3, random_state=0)
    reference.fit(x.numpy(), y.numpy())
    theirs = reference.log_marginal_likelihood_value_ - 40 * np.log(y.numpy().std())
    assert found.log_likelihood > theirs - 0.05
    queries = torch.rand(20, 3, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    mean, variance = found.predict(queries)
    assert mean.shape == variance.shape == (20, 1) and float(variance.min()) >= 0
    np.testing.assert_allclose(mean[:, 0], reference.predict(queries.numpy()), atol=0.5)


def test_a_fit_goes_on_from_the_one_before(monkeypatch: pytest.MonkeyPatch) -> None:
    (x, y), counted = problem(2, 40), []
    first = fit(x, y)
    whole = gaussian_process.evidence
    monkeypatch.setattr(gaussian_process, "evidence", lambda *given: counted.append(0) or whole(*given))
    again = fit(x, y, start=first.raw, restarts=1)
    assert len(counted) <= 10
    assert again.log_likelihood >= first.log_likelihood - 1e-3


def test_few_evaluations_are_enough_for_50_points_in_12_dimensions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each takes a fifth of a millisecond, so that a fit takes 20 to 40."""
    x = torch.rand(50, 12, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    counted: list[int] = []
    whole = gaussian_process.evidence
    monkeypatch.setattr(gaussian_process, "evidence", lambda *given: counted.append(0) or whole(*given))
    found = fit(x, torch.sin(5 * x[:, 0]) + x[:, 1] ** 2)
    assert len(counted) <= 108
    queries = torch.rand(200, 12, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    truth = torch.sin(5 * queries[:, 0]) + queries[:, 1] ** 2
    assert float((found.predict(queries)[0][:, 0] - truth).square().mean()) < 0.05 * float(truth.var())


def test_points_that_make_no_sense_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = problem(2)
    with pytest.raises(ValueError, match="none of them 0"):
        fit(x[:0], y[:0])
    with pytest.raises(ValueError, match="y n rows"):
        fit(x, y[:5])
    with pytest.raises(ValueError, match="y of point 3 is not a finite number"):
        fit(x, torch.where(torch.arange(30)[:, None] == 3, torch.nan, y))
    with pytest.raises(ValueError, match="x of point 0 is not a finite number"):
        fit(x * torch.inf, y)
    monkeypatch.setattr(gaussian_process, "MATRICES", 10**12)
    with pytest.raises(MemoryFullError, match=r"30 points takes .* GiB"):
        fit(x, y)


def test_a_target_that_does_not_vary_is_fitted() -> None:
    x = problem(1)[0]
    mean, variance = fit(x, torch.full((30,), 7.0, dtype=torch.float64)).predict(x)
    np.testing.assert_allclose(mean, 7.0, atol=1e-6)
    assert bool(variance.isfinite().all())

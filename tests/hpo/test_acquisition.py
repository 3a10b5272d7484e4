"""What candidates are worth: against integrals, and to many digits far out in the tail."""

import math

import mpmath
import pytest
import torch
from scipy.integrate import quad
from scipy.stats import norm

from d2lcli.hpo.acquisition import ei, lcb, log_ei, pi

POINTS = [(0.0, 1.0, 0.0), (0.3, 0.5, 0.1), (-2.0, 0.2, 0.0), (1.0, 2.0, -1.0), (5.0, 1.0, 0.0)]


def tensors(mu: float, sigma: float) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.tensor([mu], dtype=torch.float64), torch.tensor([sigma], dtype=torch.float64)


@pytest.mark.parametrize(("mu", "sigma", "best"), POINTS)
def test_expected_improvement_is_the_integral(mu: float, sigma: float, best: float) -> None:
    expected, _ = quad(lambda y: (best - y) * norm.pdf(y, mu, sigma), mu - 12 * sigma, best)
    assert float(ei(*tensors(mu, sigma), best)) == pytest.approx(expected, rel=1e-8, abs=1e-14)


@pytest.mark.parametrize("z", [3.0, 0.0, -0.9999, -1.0001, -5.0, -37.0, -200.0, -1e4, -9.9e4, -1.1e5, -1e7])
def test_its_logarithm_is_exact_far_beyond_the_smallest_number(z: float) -> None:
    with mpmath.workdps(60):
        exact = mpmath.mpf(z)
        tail = mpmath.npdf(exact) + exact * mpmath.ncdf(exact)
        # Beyond some thousand sigmas the closed form cancels in 60 digits: there the series of the tail is exact.
        value = (
            mpmath.log(tail) if z > -1000 else -(exact**2) / 2 - mpmath.log(2 * mpmath.pi) / 2 - 2 * mpmath.log(-exact)
        )
        expected = float(value + mpmath.log(0.5))
    found = float(log_ei(*tensors(-0.5 * z, 0.5), 0.0))
    assert found == pytest.approx(expected, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize(("mu", "sigma", "best"), POINTS)
def test_probability_of_improvement_and_the_confidence_bound(mu: float, sigma: float, best: float) -> None:
    assert float(pi(*tensors(mu, sigma), best)) == pytest.approx(norm.cdf(best, mu, sigma), rel=1e-10)
    assert float(lcb(2.0)(*tensors(mu, sigma), best)) == pytest.approx(-(mu - 2 * sigma))


def test_the_logarithm_orders_points_as_the_improvement_does() -> None:
    generator = torch.Generator().manual_seed(0)
    mu, sigma = torch.randn(200, generator=generator).double(), torch.rand(200, generator=generator).double() + 0.1
    assert torch.equal(ei(mu, sigma, 0.0).argsort(), log_ei(mu, sigma, 0.0).argsort())
    assert math.isfinite(float(log_ei(*tensors(1e9, 1e-9), 0.0)))

"""Scaling laws: planted exponents and scales, SciPy's fits, units, errors, and the plot."""

import math
import sys
from collections.abc import Callable
from pathlib import Path
from random import Random

import numpy as np
import pytest
from scipy.optimize import curve_fit
from scipy.stats import linregress

from d2lcli.errors import D2LError
from d2lcli.hpo.plots import plot_scaling_law
from d2lcli.hpo.scaling_law import PowerLaw, fit_power_law, fit_saturating_power_law

SIZES = [768.0, 12_000.0, 98_304.0, 1.5e6, 8e6, 1.5e9]  # Kaplan et al. trained from 768 to 1.5 billion parameters
# Kaplan et al., 2020, equations 1.1 to 1.3: parameters, tokens, compute in PF-days.
KAPLAN = [(0.076, 8.8e13), (0.095, 5.4e13), (0.050, 3.1e8)]
FITS = [fit_power_law, fit_saturating_power_law]

Fit = Callable[[list[float], list[float]], PowerLaw]


def planted(a: float, n_c: float, l_inf: float = 0.0) -> list[float]:
    return [l_inf + (n_c / n) ** a for n in SIZES]


def noisy(seed: int) -> list[float]:
    """The law of Hoffmann et al. (2022), equation 10, for unlimited data, with one per cent of noise."""
    rng = Random(seed)
    return [(1.69 + 406.4 / n**0.34) * math.exp(rng.gauss(0, 0.01)) for n in SIZES]


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize(("a", "n_c"), KAPLAN)
def test_a_planted_law_is_recovered(fit: Fit, a: float, n_c: float) -> None:
    found = fit(SIZES, planted(a, n_c))
    assert found.exponent == pytest.approx(a, abs=1e-6)
    assert found.scale == pytest.approx(n_c, rel=1e-4)  # N_c lies far outside: e in a is e ln(N_c / N) / a in ln N_c
    assert found.irreducible == pytest.approx(0, abs=1e-6)
    assert max(map(abs, found.residuals)) < 1e-9


@pytest.mark.parametrize("l_inf", [0.01, 0.5, 1.69, 3.0])
@pytest.mark.parametrize(("a", "n_c"), [*KAPLAN, (0.34, 406.4 ** (1 / 0.34)), (0.5, 1e4), (1.0, 2000.0)])
def test_a_planted_irreducible_loss_is_recovered(a: float, n_c: float, l_inf: float) -> None:
    found = fit_saturating_power_law(SIZES, planted(a, n_c, l_inf))
    assert found.exponent == pytest.approx(a, abs=1e-6)
    assert found.irreducible == pytest.approx(l_inf, abs=1e-6)
    assert found.scale == pytest.approx(n_c, rel=1e-4)


def test_three_points_are_enough_for_three_numbers() -> None:
    found = fit_saturating_power_law([1, 4, 16], [1 + 1, 1 + 1 / 2, 1 + 1 / 4])  # 1 + (1 / N)^(1/2)
    assert (found.exponent, found.scale, found.irreducible) == pytest.approx((0.5, 1, 1), abs=1e-6)
    assert found.at(64) == pytest.approx(1.125, abs=1e-6)


def test_two_points_are_enough_for_two_numbers() -> None:
    found = fit_power_law([10, 1000], [4, 1])  # 4 for each factor of 100
    assert found.exponent == pytest.approx(math.log(4) / math.log(100), rel=1e-12)
    assert found.at(100) == pytest.approx(2, rel=1e-12) and found.at(1000) == pytest.approx(1, rel=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_of_noisy_losses_the_fit_is_scipy_s_line(seed: int) -> None:
    losses = noisy(seed)
    found, line = fit_power_law(SIZES, losses), linregress(np.log(SIZES), np.log(losses))
    assert found.exponent == pytest.approx(-line.slope, rel=1e-9)
    assert found.log_scale == pytest.approx(line.intercept / -line.slope, rel=1e-9)
    expected = np.log(losses) - line.intercept - line.slope * np.log(SIZES)
    assert found.residuals == pytest.approx(expected.tolist(), abs=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_of_noisy_losses_the_saturating_fit_is_as_good_as_scipy_s_least_squares(seed: int) -> None:
    def law(n: np.ndarray, a: float, log_scale: float, l_inf: float) -> np.ndarray:
        return np.log(l_inf + np.exp(a * (log_scale - np.log(n))))

    losses = noisy(seed)
    found = fit_saturating_power_law(SIZES, losses)
    best, _ = curve_fit(law, SIZES, np.log(losses), p0=[0.34, 17.7, 1.69], bounds=(0, [5, 100, min(losses)]))
    least = float(np.sum((np.log(losses) - law(np.asarray(SIZES), *best)) ** 2))
    assert sum(each**2 for each in found.residuals) <= 1.02 * least  # weights to first order instead of all of it
    assert found.exponent == pytest.approx(best[0], rel=0.02) and found.irreducible == pytest.approx(best[2], rel=0.02)


@pytest.mark.parametrize("fit", FITS)
def test_units_change_the_scale_alone(fit: Fit) -> None:
    """Sizes in thousands, and losses in bits in place of nats."""
    losses = noisy(0)
    found = fit(SIZES, losses)
    thousands = fit([n / 1000 for n in SIZES], losses)
    assert thousands.exponent == pytest.approx(found.exponent, rel=1e-6)
    assert thousands.log_scale == pytest.approx(found.log_scale - math.log(1000), rel=1e-6)
    bits = fit(SIZES, [loss / math.log(2) for loss in losses])
    assert bits.exponent == pytest.approx(found.exponent, rel=1e-6)
    assert bits.irreducible == pytest.approx(found.irreducible / math.log(2), rel=1e-6)
    assert bits.log_scale == pytest.approx(found.log_scale - math.log(math.log(2)) / found.exponent, rel=1e-6)


@pytest.mark.parametrize("fit", FITS)
def test_the_order_of_the_points_does_not_matter(fit: Fit) -> None:
    losses = noisy(1)
    pairs = sorted(zip(SIZES, losses), key=lambda pair: pair[1])
    turned = fit([n for n, _ in pairs], [loss for _, loss in pairs])
    assert turned.exponent == pytest.approx(fit(SIZES, losses).exponent, rel=1e-9)


def test_a_scale_beyond_the_largest_float_is_infinite_but_the_law_holds() -> None:
    found = fit_power_law([1, 10], [8, 8 * 10**-0.001])  # ln N_c = ln 8 / 0.001 = 2079
    assert found.scale == math.inf and found.log_scale == pytest.approx(math.log(8) / 0.001)
    assert found.at(10) == pytest.approx(8 * 10**-0.001)


@pytest.mark.parametrize(
    ("sizes", "losses", "reason"),
    [
        ([1], [1], "at least 2 different sizes, not 1"),
        ([], [], "at least 2 different sizes, not 0"),
        ([5, 5, 5], [3, 2, 1], "at least 2 different sizes, not 1"),
        ([1, 2, 3], [2, 1], "3 sizes do not go with 2 losses"),
        ([0, 1, 2], [3, 2, 1], "sizes must be finite and above 0"),
        ([1, 2, 3], [3, -2, 1], "losses must be finite and above 0"),
        ([1, 2, 3], [3, math.nan, 1], "losses must be finite and above 0"),
        ([1, 2, math.inf], [3, 2, 1], "sizes must be finite and above 0"),
        ([1, 2, 3], [1, 2, 3], "do not fall"),
        ([1, 2, 3], [2, 2, 2], "do not fall"),
    ],
)
def test_what_is_no_power_law_is_refused(sizes: list[float], losses: list[float], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        fit_power_law(sizes, losses)
    with pytest.raises(ValueError, match=reason.replace("least 2", "least 3")):
        fit_saturating_power_law(sizes, losses)


def test_an_irreducible_loss_needs_three_sizes() -> None:
    with pytest.raises(ValueError, match="at least 3 different sizes, not 2"):
        fit_saturating_power_law([1, 2, 2], [3, 2, 2.1])


def test_the_plot_is_a_png(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    losses = noisy(0)
    laws = [fit(SIZES, losses) for fit in FITS]
    path = plot_scaling_law(SIZES, losses, laws, tmp_path / "plots" / "law.png", size_name="parameters")
    assert path.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    assert path.stat().st_size > 5000


def test_a_plot_without_points_or_without_matplotlib_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="at least one point"):
        plot_scaling_law([], [], [], tmp_path / "law.png")
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(D2LError, match="matplotlib is not installed"):
        plot_scaling_law([1.0], [1.0], [], tmp_path / "law.png")

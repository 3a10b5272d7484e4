"""The empirical error distribution, against SciPy's and in closed form, majorisation, and the plot."""

import sys
from math import nan
from pathlib import Path
from random import Random

import pytest
from scipy.stats import ecdf

from d2lcli.errors import D2LError
from d2lcli.hpo.error_distribution import ErrorDistribution
from d2lcli.hpo.plots import plot_error_distributions


def test_the_distribution_is_scipy_s() -> None:
    rng = Random(0)
    errors = [round(rng.random(), 2) for _ in range(200)]  # with ties
    found, expected = ErrorDistribution(errors), ecdf(errors).cdf
    for error in [-1, 0, *errors, 0.123, 1, 2]:
        assert found.at(error) == pytest.approx(expected.evaluate(error), abs=1e-12)
    places, shares = found.steps()
    assert places == expected.quantiles.tolist() and shares == pytest.approx(expected.probabilities.tolist())


def test_an_error_of_its_own_counts() -> None:
    """1(e_i <= e), not 1(e_i < e)."""
    found = ErrorDistribution([0.3, 0.1, 0.2, 0.2])
    assert [found.at(error) for error in (0.05, 0.1, 0.15, 0.2, 0.3, 9)] == [0, 0.25, 0.25, 0.75, 1, 1]
    assert found.steps() == ([0.1, 0.2, 0.3], [0.25, 0.75, 1])


@pytest.mark.parametrize(
    ("first", "second", "one_way", "other_way"),
    [
        ([0.1, 0.2], [0.2, 0.3], True, False),  # shifted to smaller errors
        ([0.1, 0.4], [0.2, 0.3], False, False),  # the curves cross
        ([0.1, 0.2], [0.2, 0.1, 0.1, 0.2], True, True),  # the same curve
        ([0.1], [0.1, 0.1, 0.5], True, False),
        ([0.1, 0.2, 0.3], [0.25], False, False),
        ([0.1, 0.1, 0.3], [0.1, 0.2, 0.3], True, False),  # above it between 0.1 and 0.2 alone
    ],
)
def test_majorisation(first: list[float], second: list[float], one_way: bool, other_way: bool) -> None:
    assert ErrorDistribution(first).majorizes(ErrorDistribution(second)) is one_way
    assert ErrorDistribution(second).majorizes(ErrorDistribution(first)) is other_way


def test_majorisation_is_what_a_fine_grid_of_thresholds_shows() -> None:
    rng = Random(1)
    outcomes = set()
    for _ in range(300):
        first, second = (ErrorDistribution([rng.randrange(6) for _ in range(rng.randint(1, 4))]) for _ in range(2))
        grid = [first.at(i / 4) >= second.at(i / 4) for i in range(-4, 28)]
        assert first.majorizes(second) is all(grid)
        outcomes.add(all(grid))
    assert outcomes == {True, False}


@pytest.mark.parametrize(("errors", "reason"), [([], "at least one network"), ([0.1, nan], "finite")])
def test_there_must_be_errors_and_they_must_be_numbers(errors: list[float], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        ErrorDistribution(errors)


def test_the_plot_is_a_png(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    errors = {"anynet_xa": [0.3, 0.2, 0.4], "regnetx_space": [0.2], "all equal": [0.2, 0.2]}
    path = plot_error_distributions(errors, tmp_path / "plots" / "errors.png")
    assert path.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    assert path.stat().st_size > 5000


def test_a_plot_without_matplotlib_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(D2LError, match="matplotlib is not installed") as caught:
        plot_error_distributions({"a": [0.1]}, tmp_path / "errors.png")
    assert "d2lcli[plot]" in caught.value.hint
    with pytest.raises(ValueError, match="at least one sample"):
        plot_error_distributions({}, tmp_path / "errors.png")

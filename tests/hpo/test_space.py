"""Dimensions: distribution functions in closed form and against SciPy's, points, refusals."""

from itertools import pairwise
from math import inf, log, nan

import pytest
from scipy.stats import loguniform, uniform

from d2lcli.hpo.space import Choice, Float, Int

SHARES = [0.0, 1e-9, 0.1, 0.25, 0.5, 0.75, 0.999, 1.0]


@pytest.mark.parametrize("share", SHARES)
def test_intervals_equal_scipy_s_quantiles(share: float) -> None:
    assert Float(-3, 5).at(share) == pytest.approx(uniform.ppf(share, -3, 8), abs=1e-12)
    assert Float(1e-4, 1, log=True).at(share) == pytest.approx(loguniform.ppf(share, 1e-4, 1))


@pytest.mark.parametrize(("value", "share"), [(1e-4, 0), (1e-3, 0.25), (1e-2, 0.5), (0.1, 0.75), (1, 1)])
def test_a_logarithmic_interval_gives_each_decade_the_same(value: float, share: float) -> None:
    """F(x) = ln(x / low) / ln(high / low): four decades, a quarter each."""
    assert Float(1e-4, 1, log=True).at(share) == pytest.approx(value)


@pytest.mark.parametrize("dimension", [Float(0.1, 0.3), Float(1e-5, 0.7, log=True), Float(1e300, 1.7e308, log=True)])
def test_rounding_does_not_leave_the_interval(dimension: Float) -> None:
    values = [dimension.at(i / 10_000) for i in range(10_001)]
    assert values == sorted(values)
    assert values[0] == dimension.low and values[-1] == pytest.approx(dimension.high)
    assert values[-1] <= dimension.high


def test_integers_are_equally_probable() -> None:
    values = [Int(-2, 3).at((i + 0.5) / 600) for i in range(600)]
    assert values == [k for k in range(-2, 4) for _ in range(100)]
    assert Int(-2, 3).at(1.0) == 3


def test_logarithmic_integers_have_the_closed_form() -> None:
    """P(k) = ln((k + 1) / k) / ln(9 / 1) for k = 1..8."""
    count = 90_000
    values = [Int(1, 8, log=True).at((i + 0.5) / count) for i in range(count)]
    for k in range(1, 9):
        assert values.count(k) / count == pytest.approx(log((k + 1) / k) / log(9), abs=2 / count)


def test_choices_are_equally_probable() -> None:
    values = [Choice(("a", 1, None)).at((i + 0.5) / 30) for i in range(30)]
    assert values == ["a"] * 10 + [1] * 10 + [None] * 10
    assert Choice(("a", 1, None)).at(1.0) is None


def test_points() -> None:
    assert Float(0, 1).points(5) == [0, 0.25, 0.5, 0.75, 1]
    assert Float(1e-4, 1, log=True).points(5) == pytest.approx([1e-4, 1e-3, 1e-2, 0.1, 1])
    assert Float(0, 1).points(1) == [0.5]
    assert Float(0.01, 1, log=True).points(1) == pytest.approx([0.1])
    assert Int(3, 5).points(3) == Int(3, 5).points(99) == [3, 4, 5]
    assert Int(0, 100).points(5) == [0, 25, 50, 75, 100]
    assert Int(32, 512, log=True).points(5) == [32, 64, 128, 256, 512]
    assert Choice(("b", "a")).points(1) == ["b", "a"]


def test_points_hold_both_ends_and_rise() -> None:
    for dimension in (Float(0.1, 0.7), Float(0.003, 0.7, log=True), Int(1, 9, log=True)):
        points = dimension.points(7)
        assert (points[0], points[-1]) == (dimension.low, dimension.high)
        assert all(low < high for low, high in pairwise(points))


@pytest.mark.parametrize(("low", "high"), [(1, 1), (2, 1), (nan, 1), (0, inf), (-1.7e308, 1.7e308)])
def test_an_interval_must_be_one(low: float, high: float) -> None:
    with pytest.raises(ValueError, match="interval must"):
        Float(low, high)


@pytest.mark.parametrize(("low", "high"), [(1, 1), (2, 1), (0, 2**53), (-(2**60), 0)])
def test_a_range_must_be_one(low: int, high: int) -> None:
    with pytest.raises(ValueError, match="integers must"):
        Int(low, high)


def test_logarithms_need_positive_numbers() -> None:
    with pytest.raises(ValueError, match="above 0: low=0"):
        Float(0, 1, log=True)
    with pytest.raises(ValueError, match="at 1 or more: low=0"):
        Int(0, 4, log=True)


def test_a_choice_has_values_and_none_twice() -> None:
    with pytest.raises(ValueError, match="at least one"):
        Choice(())
    with pytest.raises(ValueError, match="twice"):
        Choice((1, 2, 1))
    assert Choice((1, 1.0, True, "1")).points(1) == [1, 1.0, True, "1"]

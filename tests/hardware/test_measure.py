"""The statistics of repeated times: against numpy, and under a clock that the test winds."""

import itertools
import time
from dataclasses import replace

import numpy as np
import pytest
import torch

from d2lcli.hardware.bench import Bench
from d2lcli.hardware.measure import Spread, exactly, percentile, spread, time_calls


class Clock:
    """Stands still but for what is said to have passed."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize("percent", [0, 10, 33.3, 50, 90, 100])
@pytest.mark.parametrize("count", [1, 2, 7, 50])
def test_percentiles_are_numpy_s(percent: float, count: int) -> None:
    values = sorted(np.random.default_rng(count).exponential(size=count).tolist())
    assert percentile(values, percent) == pytest.approx(np.percentile(values, percent), rel=1e-12)


def test_a_spread_holds_median_best_and_the_ends() -> None:
    assert spread([5.0, 1.0, 2.0, 4.0, 3.0]) == Spread(median=3.0, best=1.0, low=1.4, high=4.6, n=5)


def test_the_longest_time_is_the_lowest_rate() -> None:
    found = Spread(2.0, 1.0, 1.5, 4.0, 9).rate(12.0)
    assert found == Spread(median=6.0, best=12.0, low=3.0, high=8.0, n=9)


def test_another_unit_keeps_the_samples() -> None:
    assert Spread(2.0, 1.0, 1.5, 4.0, 9).scaled(1000) == Spread(2000.0, 1000.0, 1500.0, 4000.0, 9)


def test_a_computed_figure_has_no_samples() -> None:
    assert exactly(7.0) == Spread(7.0, 7.0, 7.0, 7.0, 0)


def test_times_are_read_from_the_given_clock_and_the_warm_up_does_not_count() -> None:
    clock, calls = Clock(), itertools.count()

    def function() -> None:
        clock.now += 3.0 if next(calls) < 2 else 1.0  # the first calls are slower
        time.sleep(0.001)  # long enough for one call a sample

    found = time_calls(function, seconds=0.002, least=4, most=4, clock=clock)
    assert found == Spread(1.0, 1.0, 1.0, 1.0, 4)


def test_short_calls_are_timed_several_at_once() -> None:
    clock, calls = Clock(), itertools.count()

    def function() -> None:
        next(calls)
        clock.now += 0.5

    found = time_calls(function, seconds=0.0, least=3, most=3, clock=clock)
    assert found.median == 0.5  # of one call, though a sample holds many
    assert next(calls) > 3 + 2


def test_what_comes_before_a_sample_is_not_timed() -> None:
    clock, order = Clock(), []

    def before() -> None:
        clock.now += 100.0
        order.append("before")

    def function() -> None:
        clock.now += 1.0
        order.append("call")

    found = time_calls(function, seconds=0.0, least=3, most=3, clock=clock, before=before)
    assert found.median == 1.0
    assert order[-6:] == ["before", "call"] * 3


def test_a_slow_call_is_still_repeated() -> None:
    assert time_calls(lambda: time.sleep(0.002), seconds=0.0, least=5).n == 5


def test_two_passes_together() -> None:
    """All samples have one median; the spread is from the lower to the higher of the passes'."""
    one, two = spread([1.0, 2.0, 4.0]), spread([3.0, 5.0])
    both = one.joined(two)
    assert (both.median, both.best, both.n) == (3.0, 1.0, 5)
    assert (both.low, both.high) == (pytest.approx(1.2), pytest.approx(4.8))  # of 1, 2, 4 and of 3, 5
    rates = one.rate(60.0).joined(two.rate(60.0))
    assert rates.samples == (12.0, 15.0, 20.0, 30.0, 60.0) and (rates.median, rates.best, rates.n) == (20.0, 60.0, 5)
    assert (rates.low, rates.high) == (pytest.approx(60 / 4.8), pytest.approx(60 / 1.2))
    tens = one.scaled(10.0).joined(two.scaled(10.0))
    assert (tens.median, tens.low, tens.high) == (30.0, pytest.approx(12.0), pytest.approx(48.0))
    assert exactly(7.0).joined(exactly(8.0)) == exactly(7.0)


def test_a_pass_makes_its_share_of_the_repeats() -> None:
    whole = Bench(torch.device("cpu"), seconds=0.0)
    assert whole.time(lambda: time.sleep(0.002)).n == 5
    assert replace(whole, share=0.25).time(lambda: time.sleep(0.002)).n == 2

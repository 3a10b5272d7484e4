"""Rungs: their levels, and the best of those who have reached one."""

from itertools import pairwise
from random import Random

import pytest

from d2lcli.hpo.rungs import Rung, rung_levels, whole


@pytest.mark.parametrize(
    ("r_min", "r_max", "eta", "expected"),
    [
        (1, 81, 3, [1, 3, 9, 27, 81]),
        (2, 10, 2, [2, 4, 8, 10]),  # d2l 19.4
        (1, 256, 4, [1, 4, 16, 64, 256]),  # Li et al., 2020, section 4.1
        (1, 100, 3, [1, 3, 9, 27, 81, 100]),
        (5, 5, 3, [5]),
        (0.5, 2, 2, [0.5, 1, 2]),
    ],
)
def test_levels_are_powers_and_then_the_end(r_min: float, r_max: float, eta: float, expected: list[float]) -> None:
    assert rung_levels(r_min, r_max, eta) == expected


def test_a_rounding_error_makes_no_rung_of_its_own() -> None:
    levels = rung_levels(0.1, 0.1 * 1.1**7, 1.1)
    assert len(levels) == 8 and all(b / a == pytest.approx(1.1) for a, b in pairwise(levels))


@pytest.mark.parametrize(
    ("r_min", "r_max", "eta", "message"),
    [
        (0, 9, 3, "r_min=0, r_max=9"),
        (-1, 9, 3, "must begin above 0"),
        (10, 9, 3, "not after their end"),
        (1, float("inf"), 3, "r_max=inf"),
        (float("nan"), 9, 3, "r_min=nan"),
        (1, 9, 1, "eta=1 must be above 1"),
        (1, 9, float("nan"), "eta=nan"),
        (1, 9, float("inf"), "eta=inf"),
        (1, 81, 1.0001, "more than 1000 rungs"),
        (5e-324, 1, 1.4, "more than 1000 rungs"),
    ],
)
def test_bad_levels_are_refused(r_min: float, r_max: float, eta: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        rung_levels(r_min, r_max, eta)


@pytest.mark.parametrize("eta", [2, 3, 4, 1.5, 2.7])
@pytest.mark.parametrize("seed", range(6))
def test_the_best_are_those_of_a_sort(seed: int, eta: float) -> None:
    """A few different values, so that many are equal."""
    random, rung = Random(f"{seed}/{eta}"), Rung(eta)
    entries: list[tuple[float, int]] = []
    taken: set[int] = set()
    for trial in random.sample(range(1000), 300):
        value = random.choice([random.random(), float(random.randrange(5))])
        rung.add(value, trial)
        entries.append((value, trial))
        best = [number for _, number in sorted(entries)[: len(entries) * 10 // round(10 * eta)]]
        assert {number for _, number in entries if rung.holds(number)} == set(best)
        expected = next((number for number in best if number not in taken), None)
        assert rung.promotable() == rung.promotable() == expected
        if expected is not None and random.random() < 0.7:
            rung.take(expected)
            taken.add(expected)


def test_no_place_is_lost_to_rounding() -> None:
    assert 81 / 2.7 < 30 and whole(81 / 2.7) == 30
    rung = Rung(2.7)
    for trial in range(81):
        rung.add(trial / 100, trial)
    assert sum(rung.holds(trial) for trial in range(81)) == 30


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_value_is_a_finite_number(value: float) -> None:
    with pytest.raises(ValueError, match="the value of trial 7 is"):
        Rung(3).add(value, 7)

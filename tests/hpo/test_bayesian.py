"""Bayesian optimisation: points and back, parallel workers, several rungs, and how near it comes to known minima."""

import math
from collections.abc import Callable, Mapping
from statistics import median
from typing import Any

import pytest

from d2lcli.hpo.bayesian import bayesian
from d2lcli.hpo.search import Trial
from d2lcli.hpo.space import Choice, Float, Int, Space
from d2lcli.hpo.unit_cube import UnitCube

MIXED: Space = {
    "lr": Float(1e-4, 1.0, log=True),
    "width": Int(8, 512, log=True),
    "size": Choice((32, 64, 128)),
    "model": Choice(("lenet", "mlp", None)),
}


def branin(c: Mapping[str, float]) -> float:
    """Its three minima of .397887 are taken as 0."""
    x, y = c["x"], c["y"]
    square = (y - 5.1 / (4 * math.pi**2) * x * x + 5 / math.pi * x - 6) ** 2
    return square + 10 * (1 - 1 / (8 * math.pi)) * math.cos(x) + 10 - 0.39788735772973816


BRANIN: Space = {"x": Float(-5, 10), "y": Float(0, 15)}

# The constants of Hartmann's function in six dimensions, as in Picheny et al. (2013).
ALPHA = (1.0, 1.2, 3.0, 3.2)
A = (
    (10, 3, 17, 3.5, 1.7, 8),
    (0.05, 10, 17, 0.1, 8, 14),
    (3, 3.5, 1.7, 10, 17, 8),
    (17, 8, 0.05, 10, 0.1, 14),
)
P = (
    (1312, 1696, 5569, 124, 8283, 5886),
    (2329, 4135, 8307, 3736, 1004, 9991),
    (2348, 1451, 3522, 2883, 3047, 6650),
    (4047, 8828, 8732, 5743, 1091, 381),
)


def hartmann6(c: Mapping[str, float]) -> float:
    """Its minimum of -3.32237 is taken as 0."""
    x = [c[f"x{j}"] for j in range(6)]
    terms = (
        alpha * math.exp(-sum(a * (each - p / 1e4) ** 2 for a, each, p in zip(row, x, places)))
        for alpha, row, places in zip(ALPHA, A, P)
    )
    return 3.32236801141551 - sum(terms)


HARTMANN6: Space = {f"x{j}": Float(0, 1) for j in range(6)}


def minimise(space: Space, function: Callable[[Any], float], seed: int, count: int = 50, **options: Any) -> float:
    suggest, trials = bayesian(space, seed=seed, **options), []
    for number in range(count):
        config = suggest(number, trials)
        assert config is not None
        trials.append(Trial(number, config, {0: function(config)}))
    return min(trial.values[0] for trial in trials)


def test_a_configuration_is_a_point_and_comes_back() -> None:
    cube = UnitCube(MIXED)
    assert cube.size == 1 + 1 + 1 + 3
    suggest = bayesian(MIXED)
    for number in range(10):
        config = suggest(number)
        assert config is not None
        point = cube.point(config)
        again = cube.config(point)
        assert again.pop("lr") == pytest.approx(config.pop("lr")) and again == config
        assert all(0 <= each <= 1 for each in point)


def test_equal_steps_are_equal_ratios_and_names_are_equally_far() -> None:
    cube = UnitCube(MIXED)
    first, second, third = (cube.point({"lr": lr, "width": 8, "size": 32, "model": "mlp"}) for lr in (1e-4, 1e-2, 1.0))
    assert first[0] == 0 and second[0] == pytest.approx(0.5) and third[0] == 1
    points = [cube.point({"lr": 1.0, "width": 8, "size": 32, "model": name})[3:] for name in ("lenet", "mlp", None)]
    assert math.dist(points[0], points[1]) == pytest.approx(1) == math.dist(points[1], points[2])


def results(count: int) -> list[Trial]:
    suggest = bayesian(BRANIN)
    configs = [suggest(number) for number in range(count)]
    return [Trial(number, config, {0: branin(config)}) for number, config in enumerate(configs) if config]


def test_a_suggestion_is_a_function_of_the_results() -> None:
    assert bayesian(BRANIN)(12, results(12)) == bayesian(BRANIN)(12, results(12))
    assert bayesian(BRANIN, seed=1)(12, results(12)) != bayesian(BRANIN)(12, results(12))


def test_workers_that_ask_side_by_side_try_different_points() -> None:
    trials, cube, points = results(15), UnitCube(BRANIN), []
    for number in range(15, 19):
        config = bayesian(BRANIN)(number, trials)
        assert config is not None
        points.append(cube.point(config))
        trials.append(Trial(number, config, running=0))
    assert min(math.dist(a, b) for i, a in enumerate(points) for b in points[:i]) > 0.01


def test_failed_trials_are_avoided() -> None:
    """Everything with x > 0 fails: soon it is no longer tried, though Branin has two of its minima there."""
    suggest, trials = bayesian(BRANIN), list[Trial]()
    for number in range(35):
        config = suggest(number, trials)
        assert config is not None
        failed = config["x"] > 0
        trials.append(Trial(number, config, {} if failed else {0: branin(config)}, failed=failed))
    assert sum(trial.failed for trial in trials[-10:]) <= 4
    assert min(trial.values[0] for trial in trials if trial.values) < 1.0


def test_results_of_lower_rungs_help_to_choose() -> None:
    """At the first rung all values are 5 larger and slightly wrong; four trials have reached the second one."""
    suggest, trials = bayesian(BRANIN), list[Trial]()
    for number in range(30):
        config = suggest(number, trials)
        assert config is not None
        value = branin(config)
        trials.append(Trial(number, config, {0: 1.1 * value + 5} | ({1: value} if number % 7 == 0 else {})))
    assert min(branin(trial.config) for trial in trials) < 1.0  # random: 1.7


def test_mixed_spaces_are_searched() -> None:
    def value(config: Mapping[str, Any]) -> float:
        right = config["model"] == "mlp"
        return abs(math.log10(config["lr"]) + 2) + abs(math.log2(config["width"]) - 6) + (0 if right else 1)

    assert minimise(MIXED, value, seed=0, count=35) < 0.5


@pytest.mark.parametrize("acquisition", ["log_ei", "ei", "lcb", "pi"])
def test_every_acquisition_beats_random_search(acquisition: str) -> None:
    assert minimise(BRANIN, branin, seed=0, count=30, acquisition=acquisition) < 0.3  # random: 1.7, median of 10 seeds


@pytest.mark.slow
@pytest.mark.parametrize(("space", "function"), [(BRANIN, branin), (HARTMANN6, hartmann6)])
def test_fifty_evaluations_come_within_a_hundredth_of_the_minimum(space: Space, function: Any) -> None:
    """Median of 10 seeds; Optuna's GPSampler was measured at .0000 and .0032, random search at .84 and 1.53."""
    assert median(minimise(space, function, seed) for seed in range(10)) <= 0.01


@pytest.mark.parametrize(
    ("options", "reason"), [({"num_initial": 0}, "num_initial=0"), ({"kappa": -1.0}, "kappa=-1.0")]
)
def test_wrong_numbers_are_refused(options: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        bayesian(BRANIN, **options)

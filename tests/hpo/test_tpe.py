"""The density-ratio sampler and its densities."""

import time
from collections.abc import Callable, Sequence
from math import cos, pi
from statistics import median

import numpy as np
import pytest
from scipy.stats import kstest, norm
from simulated import LEVELS, R_MAX, SETTINGS

from d2lcli.hpo.asha import Promotion, asha
from d2lcli.hpo.events import Event
from d2lcli.hpo.parzen import STAYS, Density
from d2lcli.hpo.random import random
from d2lcli.hpo.search import Search, Suggest, Trial
from d2lcli.hpo.simulation import Synth, simulate
from d2lcli.hpo.space import Choice, Configuration, Float, Int, Space
from d2lcli.hpo.tpe import tpe
from d2lcli.hpo.trace import check_trace

LINE: Space = {"x": Float(0, 1)}
MIXED: Space = {"lr": Float(1e-4, 1, log=True), "size": Int(1, 64, log=True), "kind": Choice(("a", "b", None))}


def trials_at(*configs: Configuration) -> list[Trial]:
    return [Trial(number, config, {0: float(number)}) for number, config in enumerate(configs)]


def test_a_kernel_is_a_normal_mirrored_at_the_ends() -> None:
    """One trial at .1 with a deviation of .2, in equal parts with the uniform density."""
    density = Density(LINE, trials_at({"x": 0.1}), 0.2)
    x = np.linspace(0, 1, 11)[:, None]
    mirrored = sum(norm.pdf(x[:, 0], place, 0.2) for place in (0.1, -0.1, 1.9))
    np.testing.assert_allclose(np.exp(density.log(x)), (1 + mirrored) / 2, rtol=1e-12)


def test_a_density_integrates_to_one() -> None:
    density = Density(LINE, trials_at({"x": 0.0}, {"x": 0.3}, {"x": 0.95}), 0.1)
    x = (np.arange(10_000) + 0.5)[:, None] / 10_000
    assert np.exp(density.log(x)).mean() == pytest.approx(1, abs=1e-3)  # images beyond the first are left out


def test_draws_are_distributed_as_the_density_says() -> None:
    density = Density(LINE, trials_at({"x": 0.05}, {"x": 0.6}), 0.15)
    draws = density.draw(20_000, np.random.default_rng(0))[:, 0]
    grid = (np.arange(2000) + 0.5) / 2000
    total = np.cumsum(np.exp(density.log(grid[:, None]))) / 2000
    assert kstest(draws, lambda x: np.interp(x, grid, total)).pvalue > 0.01


def test_choices_stay_or_become_any() -> None:
    """The uniform density has 1/3 of each; the kernel's own has .7 + .1, the others .1."""
    density = Density({"kind": Choice(("a", "b", "c"))}, trials_at({"kind": "b"}), 0.1)
    points = np.array([[0.0], [1.0], [2.0]])
    kernel = np.array([0.1, STAYS + 0.1, 0.1])
    np.testing.assert_allclose(np.exp(density.log(points)) / 3, (1 / 3 + kernel) / 2, rtol=1e-12)
    draws = density.draw(20_000, np.random.default_rng(0))[:, 0]
    counts = np.bincount(draws.astype(int)) / len(draws)
    np.testing.assert_allclose(counts, (1 / 3 + kernel) / 2, atol=0.012)


def test_a_point_and_its_configuration_belong_together() -> None:
    draw = random(MIXED)
    configs = [config for trial in range(50) if (config := draw(trial))]
    density = Density(MIXED, trials_at(*configs), 0.1)
    for config, point in zip(configs, density._centers):
        found = density.config(point)
        assert found["size"] == config["size"] and found["kind"] == config["kind"]
        assert found["lr"] == pytest.approx(config["lr"])


def search(suggest: Suggest, goal: Callable[[Configuration], float], count: int) -> Search:
    """One worker, one rung."""
    found = Search(suggest, [1], lambda trial: 0, lambda number: Promotion(1, 2), count)
    while job := found.next():
        assert job.config is not None
        found.record(Event("start", job.trial, 0, 1, config=job.config))
        found.record(Event("report", job.trial, 0, 1, value=goal(job.config)))
    return found


def branin(config: Configuration) -> float:
    x, y = config["x"], config["y"]
    bowl = (y - 5.1 / (4 * pi**2) * x**2 + 5 / pi * x - 6) ** 2
    return float(bowl + 10 * (1 - 1 / (8 * pi)) * cos(x) + 10 - 0.397887)


def regret(make: Callable[[Space, int], Suggest], seeds: Sequence[int]) -> float:
    space: Space = {"x": Float(-5, 10), "y": Float(0, 15)}
    best = [min(trial.values[0] for trial in search(make(space, seed), branin, 50).trials) for seed in seeds]
    return median(best)


def test_on_branin_it_is_better_than_random_draws() -> None:
    """Medians over 40 seeds of the regret after 50 trials."""
    found = regret(lambda space, seed: tpe(space, seed=seed), range(40))
    assert found < 0.35 and found < 0.7 * regret(lambda space, seed: random(space, seed), range(40))


def test_the_first_trials_are_those_of_random_search() -> None:
    draw, suggest = random(MIXED, 5), tpe(MIXED, seed=5)
    trials: list[Trial] = []
    for number in range(10):
        assert suggest(number, trials) == draw(number)
        trials.append(Trial(number, draw(number) or {}, {0: number / 10}))
    assert any(suggest(number, trials) != draw(number) for number in range(10, 20))


def test_it_draws_near_good_trials_and_far_from_bad_ones() -> None:
    trials = trials_at(
        *({"x": 0.2 + place / 100} for place in range(4)), *({"x": 0.5 + place / 40} for place in range(16))
    )
    suggest = tpe(LINE, uniform=0)
    found = [config["x"] for number in range(20, 220) if (config := suggest(number, trials))]
    assert np.mean(np.array(found) < 0.4) > 0.9


def test_the_highest_rung_with_enough_results_decides() -> None:
    """At the first rung small numbers are better, at the second large ones."""
    trials = [Trial(number, {"x": number / 40}, {0: number / 40}) for number in range(40)]
    suggest = tpe(LINE, uniform=0)

    def middle() -> float:
        return median(config["x"] for number in range(40, 140) if (config := suggest(number, trials)))

    assert middle() < 0.3
    for trial in trials[:27:3]:
        trial.values[1] = -trial.config["x"]
    assert middle() < 0.3  # nine are not enough
    trials[27].values[1] = -trials[27].config["x"]
    assert middle() > 0.45


def test_a_suggestion_depends_on_the_trials_alone() -> None:
    draw = random(MIXED)
    trials = [Trial(number, draw(number) or {}, {0: number % 7}) for number in range(30)]
    trials.append(Trial(30, draw(30) or {}, failed=True))
    trials.append(Trial(31, draw(31) or {}, running=0))
    first, second = tpe(MIXED), tpe(MIXED)
    for number in range(31, 50):
        second(number + 1, trials[:20])
        assert first(number, trials) == first(number, trials) == second(number, trials)


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("workers", [1, 25])
def test_it_feeds_asha(workers: int, setting: str) -> None:
    chosen = SETTINGS[setting]
    curves = Synth(chosen.diverging)
    found = asha(tpe(curves.space), R_MAX, trials=80)
    outcome = simulate(found, curves, workers, every=chosen.every, losses=0.2)
    assert check_trace(outcome.events, LEVELS, 3, trials=80, done=True) == []
    again = asha(tpe(curves.space), R_MAX, trials=80)
    for event in outcome.events:
        if event.config is not None:
            job = again.next()
            assert job is not None and job.config == event.config
        again.record(event)


def test_a_suggestion_after_three_thousand_trials_takes_two_milliseconds() -> None:
    found = asha(random(Synth.space), R_MAX, trials=3000)
    simulate(found, Synth(), 25)
    suggest = tpe(Synth.space, uniform=0)
    suggest(3000, found.trials)
    begun = time.process_time()
    for number in range(3000, 3100):
        suggest(number, found.trials)
    assert (time.process_time() - begun) / 100 < 0.002


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_initial": 1}, "num_initial=1 must be at least 2"),
        ({"good": 0}, "good=0 must be above 0 and below 1"),
        ({"good": float("nan")}, "good=nan"),
        ({"uniform": 1.5}, "uniform=1.5 must be in"),
        ({"num_candidates": 0}, "num_candidates=0 must be at least 1"),
        ({"seed": -1}, "seed=-1 must be at least 0"),
    ],
)
def test_bad_options_are_refused(options: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        tpe(LINE, **options)  # type: ignore[arg-type]

"""Grid and random search."""

from itertools import combinations, product

import pytest
from scipy.stats import kstest, loguniform, pearsonr

from d2lcli.hpo.grid import grid
from d2lcli.hpo.random import random
from d2lcli.hpo.space import Choice, Float, Int

LR = {"lr": Float(1e-4, 1, log=True)}


def test_a_grid_is_the_product_in_the_order_of_nested_loops() -> None:
    space = {"lr": Choice((0.01, 0.1, 1.0)), "size": Int(1, 4)}
    suggest = grid(space)
    found = [suggest(trial) for trial in range(12)]
    assert found == [{"lr": lr, "size": size} for lr, size in product((0.01, 0.1, 1.0), range(1, 5))]
    assert suggest(12) is suggest(10**30) is None


@pytest.mark.parametrize("num_points", [1, 2, 4])
def test_a_grid_has_n_to_the_d_trials(num_points: int) -> None:
    suggest = grid({name: Float(0, 1) for name in "abc"}, num_points)
    found = {tuple(suggest(trial).values()) for trial in range(num_points**3)}  # type: ignore[union-attr]
    assert len(found) == num_points**3
    assert suggest(num_points**3) is None


def test_a_grid_that_nobody_could_lay_out_has_a_last_trial() -> None:
    suggest = grid({f"d{i}": Float(0, 1) for i in range(40)}, 10)
    assert suggest(10**40 - 1) == {f"d{i}": 1.0 for i in range(40)}
    assert suggest(10**40) is None


def test_a_grid_needs_a_point() -> None:
    with pytest.raises(ValueError, match="num_points=0 must be at least 1"):
        grid(LR, 0)


def draws(seed: int, count: int, name: str = "lr") -> list[float]:
    suggest = random({name: Float(1e-4, 1, log=True)}, seed)
    return [suggest(trial)[name] for trial in range(count)]  # type: ignore[index]


def test_draws_are_log_uniform() -> None:
    assert kstest(draws(1, 3000), loguniform(1e-4, 1).cdf).pvalue > 0.01
    assert kstest(draws(1, 3000), loguniform(1e-4, 2).cdf).pvalue < 1e-6


def test_seeds_trials_and_names_are_unrelated() -> None:
    streams = draws(0, 2000), draws(1, 2000), draws(0, 2001)[1:], draws(0, 2000, "momentum")
    for first, other in combinations(streams, 2):
        assert abs(pearsonr(first, other).statistic) < 0.08  # 3.5 standard deviations of 1 / sqrt(2000)


def test_every_trial_tries_a_new_value_of_every_dimension() -> None:
    """What a grid does not: of n trials in d dimensions it tries n^(1/d) values of each."""
    suggest = random({name: Float(0, 1) for name in "abc"})
    for name in "abc":
        assert len({suggest(trial)[name] for trial in range(125)}) == 125  # type: ignore[index]


def test_sixty_trials_find_the_best_twentieth_with_probability_954() -> None:
    """1 - .95^60 = .954; over 1,000 seeds the share has a standard deviation of .0066."""
    suggestions = (random({"a": Float(0, 1)}, seed) for seed in range(1000))
    hits = sum(any(suggest(trial)["a"] > 0.95 for trial in range(60)) for suggest in suggestions)  # type: ignore[index]
    assert hits / 1000 == pytest.approx(1 - 0.95**60, abs=0.02)


def test_another_dimension_leaves_the_others_as_they_were() -> None:
    small, large = random(LR, 7), random({"size": Int(1, 9)} | LR, 7)
    assert [small(trial)["lr"] for trial in range(50)] == [large(trial)["lr"] for trial in range(50)]  # type: ignore[index]


def test_a_seed_is_not_negative() -> None:
    with pytest.raises(ValueError, match="seed=-1 must be at least 0"):
        random(LR, -1)

"""The tree-structured Parzen estimator (Bergstra et al., 2011), over the rungs of a search (Falkner et al., 2018)."""

from collections.abc import Sequence
from math import ceil
from random import Random

from d2lcli.hpo.random import random
from d2lcli.hpo.search import Suggest, Trial
from d2lcli.hpo.space import Configuration, Space, check_trial

MOST_GOOD, MOST_BAD = 25, 200  # trials that a density looks at


def tpe(
    space: Space,
    num_initial: int = 10,
    good: float = 0.15,
    uniform: float = 0.25,
    num_candidates: int = 24,
    seed: int = 0,
) -> Suggest:
    """Of some candidates drawn from l the x with the largest l(x) / g(x): the densities of good and of bad trials.

    The trials are those of the highest rung with enough results.  Within one rung all have been trained equally long,
    and at a high one the results are nearest to the last.  Of its n trials the best max(d + 1, good n) are good.

    The kernels of the densities are at least n^-0.4 / 2 wide, in shares of a dimension's probability.  With narrow ones
    the search settles in the corner whose trials learn fastest in the beginning, and finds less than random draws do.

    Args:
        space: the dimensions by name.
        num_initial: results at one rung, before which trials are drawn at random.
        good: the share of good trials, above 0 and below 1.
        uniform: the share of trials that are drawn at random at any time, in [0, 1].
        num_candidates: how many are compared.
        seed: at least 0.

    Raises:
        ValueError: the space is empty, or a number is out of range.
    """
    drawn = random(space, seed)
    if num_initial < 2:
        raise ValueError(f"num_initial={num_initial!r} must be at least 2")
    if not 0 < good < 1:
        raise ValueError(f"good={good!r} must be above 0 and below 1")
    if not 0 <= uniform <= 1:
        raise ValueError(f"uniform={uniform!r} must be in [0, 1]")
    if num_candidates < 1:
        raise ValueError(f"num_candidates={num_candidates!r} must be at least 1")

    def suggest(trial: int, trials: Sequence[Trial] = ()) -> Configuration | None:
        check_trial(trial)
        chance = Random(f"{seed}/{trial}/tpe")
        ranked = _ranked(trials, num_initial)
        if not ranked or chance.random() < uniform:
            return drawn(trial, trials)
        count = min(MOST_GOOD, max(len(space) + 1, ceil(good * len(ranked))), len(ranked) - 1)
        return _best_ratio(space, ranked, count, num_candidates, chance.getrandbits(64))

    return suggest


def _ranked(trials: Sequence[Trial], least: int) -> list[Trial]:
    """The trials of the highest rung that has enough, the best first; none where no rung has."""
    for rung in sorted({rung for trial in trials for rung in trial.values}, reverse=True):
        found = [(trial.values[rung], trial.number) for trial in trials if rung in trial.values]
        if len(found) >= least:
            return [trials[number] for _, number in sorted(found)]
    return []


def _best_ratio(space: Space, ranked: Sequence[Trial], count: int, num_candidates: int, seed: int) -> Configuration:
    """The best candidate; the first `count` of the ranked trials are the good ones."""
    import numpy as np

    from d2lcli.hpo.parzen import Density

    bad = ranked[count:]
    if len(bad) > MOST_BAD:  # evenly over their ranks
        bad = [bad[index * len(bad) // MOST_BAD] for index in range(MOST_BAD)]
    least = len(ranked) ** -0.4 / 2
    good_density, bad_density = Density(space, ranked[:count], least), Density(space, bad, least)
    points = good_density.draw(num_candidates, np.random.default_rng(seed))
    best = np.argmax(good_density.log(points) - bad_density.log(points))
    return good_density.config(points[best])

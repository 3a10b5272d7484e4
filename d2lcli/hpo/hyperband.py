"""Hyperband (Li et al., 2018): brackets that begin at different rungs, so that no one choice of r_min decides."""

from bisect import bisect_right
from itertools import accumulate
from math import ceil
from typing import Literal

from d2lcli.hpo.asha import Promotion
from d2lcli.hpo.rungs import rung_levels
from d2lcli.hpo.search import Bracket, Search, Suggest
from d2lcli.hpo.successive_halving import Rounds


def hyperband(
    suggest: Suggest,
    r_max: float,
    r_min: float = 1,
    eta: float = 3,
    variant: Literal["successive_halving", "asha"] = "successive_halving",
    trials: int | None = None,
) -> Search:
    """Brackets s = K, K - 1, ..., 0, each of ceil((K + 1) / (s + 1) eta^s) trials that begin s rungs below the last.

    K + 1 is the number of rungs.  The last bracket is random search at r_max.

    Args:
        suggest: draws new trials.
        r_max, r_min: what a trial is trained for at the last rung, and at the lowest first one.
        eta: above 1.
        variant: what the brackets do.  With asha no worker waits, and a bracket that comes again goes on with all its
            trials, the earlier ones too.
        trials: how many are drawn; None is one round of all brackets.

    Raises:
        ValueError: a number is out of range.
    """
    levels = rung_levels(r_min, r_max, eta)
    sizes = bracket_sizes(len(levels), eta)
    ends = list(accumulate(sizes))

    def bracket_of(trial: int) -> int:
        round_, place = divmod(trial, ends[-1])
        bracket = bisect_right(ends, place)
        return bracket if variant == "asha" else round_ * len(sizes) + bracket

    def make(number: int) -> Bracket:
        first = number % len(sizes)
        if variant == "asha":
            return Promotion(len(levels), eta, first)
        return Rounds(sizes[first], len(levels), eta, first)

    return Search(suggest, levels, bracket_of, make, trials if trials is not None else ends[-1])


def bracket_sizes(rungs: int, eta: float) -> list[int]:
    """Trials of the brackets that begin at rung 0, 1, ...: ceil((K + 1) / (s + 1) eta^s) with s = K, K - 1, ..., 0."""
    return [ceil(rungs / (s + 1) * eta**s - 1e-9) for s in range(rungs - 1, -1, -1)]

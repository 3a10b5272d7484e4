"""Random search (Bergstra and Bengio, 2012; d2l 19.1)."""

from collections.abc import Sequence
from random import Random

from d2lcli.hpo.search import Suggest, Trial
from d2lcli.hpo.space import Configuration, Space, check_space, check_trial


def random(space: Space, seed: int = 0) -> Suggest:
    """Every dimension of every trial drawn independently from its distribution.

    A value is a function of (seed, trial, name) alone: workers need not agree on an order, a study may be taken up
    again at any trial, and another dimension in the space leaves the values of the others as they were.

    Args:
        space: the dimensions by name.
        seed: at least 0.

    Returns:
        From the number of a trial, from 0 on, to its configuration; there is always one.

    Raises:
        ValueError: the space is empty, or the seed is below 0.
    """
    check_space(space)
    if seed < 0:
        raise ValueError(f"seed={seed!r} must be at least 0")

    def suggest(trial: int, trials: Sequence[Trial] = ()) -> Configuration | None:
        check_trial(trial)
        return {name: dimension.at(_share(seed, trial, name)) for name, dimension in space.items()}

    return suggest


def _share(seed: int, trial: int, name: str) -> float:
    """A number from U[0, 1).  Python seeds from text by SHA-512, so neighbouring seeds and trials are unrelated."""
    return Random(f"{seed}/{trial}/{name}").random()

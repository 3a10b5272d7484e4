"""Grid search (d2l 19.1)."""

from collections.abc import Sequence
from math import prod

from d2lcli.hpo.search import Suggest, Trial
from d2lcli.hpo.space import Configuration, Space, check_space, check_trial


def grid(space: Space, num_points: int = 5) -> Suggest:
    """The product of all dimensions' points, in the order in which nested loops give it: the last name changes fastest.

    Args:
        space: the dimensions by name.
        num_points: values of an interval; a choice, and a range of no more integers, gives all of its values.

    Returns:
        From the number of a trial, from 0 on, to its configuration, or None when the grid is used up.

    Raises:
        ValueError: the space is empty, or num_points is below 1.
    """
    check_space(space)
    if num_points < 1:
        raise ValueError(f"num_points={num_points!r} must be at least 1")
    points = {name: dimension.points(num_points) for name, dimension in space.items()}
    total = prod(len(values) for values in points.values())

    def suggest(trial: int, trials: Sequence[Trial] = ()) -> Configuration | None:
        check_trial(trial)
        if trial >= total:
            return None
        # The trial number in mixed radix, the last dimension its lowest digit; no product is ever laid out.
        digits = {}
        for name, values in reversed(points.items()):
            trial, digits[name] = divmod(trial, len(values))
        return {name: values[digits[name]] for name, values in points.items()}

    return suggest

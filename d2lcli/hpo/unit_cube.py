"""Configurations as points of a cube in which equal distances mean equal differences, and back."""

import math
from collections.abc import Sequence
from typing import Any

from d2lcli.hpo.space import Choice, Configuration, Dimension, Space


class UnitCube:
    """A coordinate for each number, and for each choice of numbers by their order; one for each name of other choices.

    Args:
        space: the dimensions by name.

    Attributes:
        size: how many coordinates there are.
    """

    def __init__(self, space: Space) -> None:
        self.space = space
        self.size = sum(_width(dimension) for dimension in space.values())

    def point(self, config: Configuration) -> list[float]:
        """The coordinates of a configuration."""
        return [each for key, dimension in self.space.items() for each in _coordinates(dimension, config[key])]

    def config(self, point: Sequence[float]) -> Configuration:
        """The configuration nearest to a point."""
        found, place = {}, 0
        for key, dimension in self.space.items():
            width = _width(dimension)
            found[key] = _value(dimension, point[place : place + width])
            place += width
        return found


def _names(dimension: Dimension) -> bool:
    """Whether a dimension is a choice without an order."""
    return isinstance(dimension, Choice) and not all(
        isinstance(value, int | float) and not isinstance(value, bool) for value in dimension.values
    )


def _width(dimension: Dimension) -> int:
    return len(dimension.values) if isinstance(dimension, Choice) and _names(dimension) else 1


def _coordinates(dimension: Dimension, value: Any) -> list[float]:
    if isinstance(dimension, Choice):
        if _names(dimension):  # two names are at distance 1
            return [math.sqrt(0.5) * (repr(each) == repr(value)) for each in dimension.values]
        order = sorted(dimension.values)
        return [(order.index(value) + 0.5) / len(order)]
    return [dimension.share(value)]


def _value(dimension: Dimension, coordinates: Sequence[float]) -> Any:
    if isinstance(dimension, Choice) and _names(dimension):
        return dimension.values[max(range(len(coordinates)), key=coordinates.__getitem__)]
    share = min(max(coordinates[0], 0.0), 1.0)
    if isinstance(dimension, Choice):
        order = sorted(dimension.values)
        return order[min(int(share * len(order)), len(order) - 1)]
    return dimension.at(share)

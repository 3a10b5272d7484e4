"""Search spaces: a name for each dimension, and the values that it may take (d2l 19.1).

Each dimension maps a share u of its probability to a value (the inverse of its distribution function), and lays out
evenly spaced points.  Searches need no more of it, so that one that thinks in the unit cube can use the same spaces.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import exp, floor, isfinite, log
from typing import Any, TypeAlias

LARGEST = 2**53  # the largest integer up to which a float tells all integers apart


@dataclass(frozen=True)
class Float:
    """Numbers from `low` to `high`, both included, uniform; with `log`, F(x) = ln(x/low) / ln(high/low).

    Raises:
        ValueError: an end is not finite, low is not below high, or log with low not above 0.
    """

    low: float
    high: float
    log: bool = False

    def __str__(self) -> str:
        return f"{self.low:g} .. {self.high:g}{', log' if self.log else ''}"

    def __post_init__(self) -> None:
        if not (isfinite(self.low) and isfinite(self.high) and isfinite(self.high - self.low)):
            raise ValueError(f"an interval must have finite ends, not {self.low!r} and {self.high!r}")
        if not self.low < self.high:
            raise ValueError(f"an interval must begin below its end: low={self.low!r}, high={self.high!r}")
        if self.log and self.low <= 0:
            raise ValueError(f"a logarithmic interval must begin above 0: low={self.low!r}")

    def at(self, share: float) -> float:
        """The value below which `share`, in [0, 1], of the probability lies."""
        if self.log:
            value = exp(log(self.low) + share * (log(self.high) - log(self.low)))
        else:
            value = self.low + share * (self.high - self.low)
        return min(max(value, self.low), self.high)  # rounding must not leave the interval

    def share(self, value: float) -> float:
        """The share of the probability below a value: the inverse of `at`."""
        if self.log:
            return (log(value) - log(self.low)) / (log(self.high) - log(self.low))
        return (value - self.low) / (self.high - self.low)

    def points(self, count: int) -> list[Any]:
        """`count` values at even distances (of the logarithm, with `log`), the ends among them; one is the middle."""
        if count == 1:
            return [self.at(0.5)]
        return [float(self.low), *(self.at(i / (count - 1)) for i in range(1, count - 1)), float(self.high)]


@dataclass(frozen=True)
class Int:
    """Integers from `low` to `high`, both included, all equally probable.

    With `log`, P(k) = ln((k+1)/k) / ln((high+1)/low): the whole part of a number whose logarithm is uniform.

    Raises:
        ValueError: low is not below high, an end is beyond 2^53, or log with low below 1.
    """

    low: int
    high: int
    log: bool = False

    def __str__(self) -> str:
        return f"{self.low} .. {self.high}, integers{', log' if self.log else ''}"

    def __post_init__(self) -> None:
        if not -LARGEST <= self.low < self.high < LARGEST:
            raise ValueError(
                f"integers must begin below their end and stay within 2**53: low={self.low!r}, high={self.high!r}"
            )
        if self.log and self.low < 1:
            raise ValueError(f"a logarithmic range of integers must begin at 1 or more: low={self.low!r}")

    def at(self, share: float) -> int:
        """The smallest value up to which more than `share`, in [0, 1], of the probability lies; `high` for 1."""
        value = Float(self.low, self.high + 1, self.log).at(share)
        return min(floor(value), self.high)

    def share(self, value: int) -> float:
        """The middle of the shares that `at` maps to a value."""
        return Float(self.low, self.high + 1, self.log).share(value + 0.5)

    def points(self, count: int) -> list[Any]:
        """All integers if there are at most `count`, else up to `count`, rounded from even distances."""
        if self.high - self.low < count:
            return list(range(self.low, self.high + 1))
        return sorted({round(point) for point in Float(self.low, self.high, self.log).points(count)})


@dataclass(frozen=True)
class Choice:
    """One of `values`, all equally probable.

    Raises:
        ValueError: there is no value, or one is given twice.
    """

    values: tuple[Any, ...]

    def __str__(self) -> str:
        return ", ".join(map(str, self.values[:12])) + (", ..." if len(self.values) > 12 else "")

    def __post_init__(self) -> None:
        if not self.values:
            raise ValueError("a choice must have at least one value")
        if len({repr(value) for value in self.values}) < len(self.values):  # by repr: 1, 1.0 and True are not the same
            raise ValueError(f"a choice must not hold a value twice: {list(self.values)}")

    def at(self, share: float) -> Any:
        """The value up to which more than `share`, in [0, 1], of the probability lies, in the order given."""
        return self.values[min(floor(share * len(self.values)), len(self.values) - 1)]

    def points(self, count: int) -> list[Any]:
        """All values, whatever `count` is: between choices there is no distance by which to leave some out."""
        return list(self.values)


Dimension: TypeAlias = Float | Int | Choice
Space: TypeAlias = Mapping[str, Dimension]
Configuration: TypeAlias = dict[str, Any]
"""A value for each name of the space."""


def check_space(space: Space) -> None:
    """Refuse a space in which there is nothing to search.

    Raises:
        ValueError: the space has no dimension, or one without a name.
    """
    if not space:
        raise ValueError("the search space is empty; give at least one name with its values")
    if "" in space:
        raise ValueError("a dimension of the search space has no name")


def check_trial(trial: int) -> None:
    """Refuse a trial number below 0.

    Raises:
        ValueError: it is below 0.
    """
    if trial < 0:
        raise ValueError(f"trial={trial!r} must be at least 0")

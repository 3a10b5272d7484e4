"""The empirical distribution of the errors of sampled networks, by which design spaces are compared (d2l 8.8)."""

from bisect import bisect_right
from collections.abc import Iterable
from math import isfinite


class ErrorDistribution:
    """F(e) = (1 / n) sum over i of 1(e_i <= e): the share of n networks whose error is at most e.

    Args:
        errors: e_i, of at least one network.

    Raises:
        ValueError: there is no error, or one that is not finite.
    """

    def __init__(self, errors: Iterable[float]) -> None:
        self.errors = sorted(errors)
        if not self.errors:
            raise ValueError("an error distribution needs the error of at least one network")
        if not all(isfinite(error) for error in self.errors):
            raise ValueError(f"errors must be finite numbers: {self.errors}")

    def at(self, error: float) -> float:
        """F(error)."""
        return bisect_right(self.errors, error) / len(self.errors)

    def steps(self) -> tuple[list[float], list[float]]:
        """The errors at which F rises, each once, and F there."""
        places = sorted(set(self.errors))
        return places, [self.at(place) for place in places]

    def majorizes(self, other: "ErrorDistribution") -> bool:
        """Whether F(e) >= F_other(e) for every e: at no threshold has the other space the larger share of networks."""
        # F_other rises at its own errors only: between two of them it is F that can grow.
        return all(self.at(error) >= other.at(error) for error in other.errors)

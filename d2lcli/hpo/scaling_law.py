"""Scaling laws: the loss of a model falls as a power of its size (Kaplan et al., 2020; Hoffmann et al., 2022).

Legend, as in the papers: N the size (parameters, tokens or compute), L the loss, a the exponent, N_c the scale, L_inf
the irreducible loss.  n is the number of points.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]

GOLDEN = (math.sqrt(5) - 1) / 2
SMALLEST_GAP = -8.0  # log10 of the smallest (L_min - L_inf) / L_min that is tried
GRID = 161  # places of the search, 20 in each factor of ten


@dataclass(frozen=True)
class PowerLaw:
    """L(N) = L_inf + (N_c / N)^a.

    Attributes:
        exponent: a, above 0.
        log_scale: ln N_c, which is finite where N_c may not be.
        irreducible: L_inf, at least 0.
        residuals: (n,), the logarithm of each loss less that of the law's.
    """

    exponent: float
    log_scale: float
    irreducible: float
    residuals: tuple[float, ...]

    @property
    def scale(self) -> float:
        """N_c, infinite where it is beyond the largest float."""
        try:
            return math.exp(self.log_scale)
        except OverflowError:
            return math.inf

    def at(self, size: float) -> float:
        """L(size)."""
        return self.irreducible + math.exp(self.exponent * (self.log_scale - math.log(size)))


def fit_power_law(sizes: Sequence[float], losses: Sequence[float]) -> PowerLaw:
    """Fit L(N) = (N_c / N)^a, a straight line in logarithms: ln L = a ln N_c - a ln N, by least squares.

    Kaplan et al. found a = 0.076 for the parameters without embeddings, 0.095 for the tokens and 0.050 for the compute.

    Args:
        sizes: N of each of n >= 2 points, two different ones among them, above 0.
        losses: L, above 0.

    Raises:
        ValueError: too few points, a value out of range, or losses that do not fall as the sizes grow.
    """
    n, loss = _checked(sizes, losses, least=2)
    return _law(n, loss, 0.0)


def fit_saturating_power_law(sizes: Sequence[float], losses: Sequence[float]) -> PowerLaw:
    """Fit L(N) = L_inf + (N_c / N)^a with 0 <= L_inf < min L, by least squares in ln L.

    For each L_inf the other two follow from a straight line; L_inf itself is found by a search along the logarithm of
    min L - L_inf, on a grid, then by golden sections around the best place of it.

    Args:
        sizes: N of each of n >= 3 points, three different ones among them, above 0.
        losses: L, above 0.

    Raises:
        ValueError: too few points, a value out of range, or losses that do not fall as the sizes grow.
    """
    n, loss = _checked(sizes, losses, least=3)
    lowest = float(loss.min())

    def irreducible(place: float) -> float:
        return lowest * (1 - 10**place)

    def cost(place: float) -> float:
        _, _, residuals = _line(n, loss, irreducible(place))
        return float(residuals @ residuals)

    grid = [float(place) for place in np.linspace(SMALLEST_GAP, 0.0, GRID)]
    best = min(range(GRID), key=[cost(place) for place in grid].__getitem__)
    inside = _golden_section(cost, grid[max(best - 1, 0)], grid[min(best + 1, GRID - 1)])
    return _law(n, loss, irreducible(min(inside, grid[best], key=cost)))  # the grid has L_inf = 0, the section not


def _checked(sizes: Sequence[float], losses: Sequence[float], least: int) -> tuple[Vector, Vector]:
    """The points as arrays (n,).

    Raises:
        ValueError: see `fit_power_law`.
    """
    if len(sizes) != len(losses):
        raise ValueError(f"{len(sizes)} sizes do not go with {len(losses)} losses")
    if len(set(sizes)) < least:
        raise ValueError(f"this power law needs at least {least} different sizes, not {len(set(sizes))}")
    for name, values in (("sizes", sizes), ("losses", losses)):
        if not all(math.isfinite(value) and value > 0 for value in values):
            raise ValueError(f"{name} must be finite and above 0: {list(values)}")
    return np.asarray(sizes, dtype=np.float64), np.asarray(losses, dtype=np.float64)


def _line(sizes: Vector, losses: Vector, irreducible: float) -> tuple[float, float, Vector]:
    """Slope and height of ln(L - L_inf) over ln N, and the residuals in ln L.

    A small error e of ln(L - L_inf) is one of e (L - L_inf) / L of ln L, hence the weights.
    """
    above = losses - irreducible
    weights = (above / losses) ** 2
    x, y = np.log(sizes), np.log(above)
    x_mean, y_mean = np.average(x, weights=weights), np.average(y, weights=weights)
    slope = float(np.sum(weights * (x - x_mean) * (y - y_mean)) / np.sum(weights * (x - x_mean) ** 2))
    height = float(y_mean - slope * x_mean)
    return slope, height, np.log(losses) - np.log(irreducible + np.exp(height + slope * x))


def _golden_section(cost: Callable[[float], float], low: float, high: float) -> float:
    """Where `cost`, which falls and then rises, is smallest between two places."""
    left, right = high - GOLDEN * (high - low), low + GOLDEN * (high - low)
    left_cost, right_cost = cost(left), cost(right)
    for _ in range(80):  # 0.618^80 is below the spacing of floats
        if left_cost < right_cost:
            high, right, right_cost = right, left, left_cost
            left = high - GOLDEN * (high - low)
            left_cost = cost(left)
        else:
            low, left, left_cost = left, right, right_cost
            right = low + GOLDEN * (high - low)
            right_cost = cost(right)
    return (low + high) / 2


def _law(sizes: Vector, losses: Vector, irreducible: float) -> PowerLaw:
    slope, height, residuals = _line(sizes, losses, irreducible)
    if not slope < 0:
        raise ValueError(f"the losses do not fall as the sizes grow (slope {slope:.3g} in logarithms): no power law")
    return PowerLaw(-slope, height / -slope, irreducible, tuple(residuals.tolist()))

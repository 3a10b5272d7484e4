"""Densities of configurations around trials (Parzen, 1962), for `tpe`.

Shapes: n trials, m points, d dimensions.  A number is a share of its dimension's probability, a choice its index.
"""

from collections.abc import Sequence
from math import log, pi, sqrt

import numpy as np
from numpy.typing import NDArray

from d2lcli.hpo.search import Trial
from d2lcli.hpo.space import Choice, Configuration, Space

Array = NDArray[np.float64]
STAYS = 0.7  # the probability with which a kernel keeps a choice


class Density:
    """A mixture, in equal parts, of the uniform density and of a kernel around each trial.

    A kernel is a product over the dimensions: of numbers a normal, mirrored at 0 and 1, with deviation
    h = max(s n^(-1 / (d + 4)), least), where s is the deviation of the trials; a choice stays with probability .7, and
    else is any.

    Args:
        space: the dimensions by name.
        trials: n, at least one.
        least: the smallest deviation of a kernel.
    """

    def __init__(self, space: Space, trials: Sequence[Trial], least: float) -> None:
        self._space = space
        self._kinds = np.array([len(each.values) if isinstance(each, Choice) else 0 for each in space.values()])  # (d,)
        self._numbers, self._choices = np.flatnonzero(self._kinds == 0), np.flatnonzero(self._kinds)
        self._centers = np.array([self._point(trial.config) for trial in trials])  # (n, d)
        count, dimensions = self._centers.shape
        self._widths = np.maximum(self._centers.std(0) * count ** (-1 / (dimensions + 4)), least)  # (d,)

    def draw(self, count: int, generator: np.random.Generator) -> Array:
        """m points, (m, d)."""
        points = generator.random((count, len(self._kinds)))
        points[:, self._choices] = np.floor(points[:, self._choices] * self._kinds[self._choices])
        kernels = generator.integers(0, len(self._centers) + 1, count)  # the last one is the uniform density
        near = np.flatnonzero(kernels < len(self._centers))
        centers = self._centers[kernels[near]]
        moved = np.abs(centers + self._widths * generator.standard_normal(centers.shape)) % 2
        moved = np.where(moved > 1, 2 - moved, moved)
        stays = np.where(generator.random(centers.shape) < STAYS, centers, points[near])
        points[near] = np.where(self._kinds == 0, moved, stays)
        return points

    def log(self, points: Array) -> Array:
        """Of points (m, d) the logarithm of the density (m,), relative to the uniform one."""
        total = np.zeros((len(points), len(self._centers)))  # (m, n)
        for j in self._numbers:
            x, center, width = points[:, j, None], self._centers[:, j], self._widths[j]
            mirrored = sum(np.exp(-0.5 * ((x - image) / width) ** 2) for image in (center, -center, 2 - center))
            total += np.log(mirrored / (width * sqrt(2 * pi)) + 1e-300)
        for j in self._choices:
            same = points[:, j, None] == self._centers[:, j]
            total += np.where(same, log(STAYS * self._kinds[j] + 1 - STAYS), log(1 - STAYS))
        found: Array = np.log(np.exp(total).sum(1) + 1) - log(len(self._centers) + 1)
        return found

    def config(self, point: Array) -> Configuration:
        """The configuration at a point (d,)."""
        return {
            name: each.values[int(place)] if isinstance(each, Choice) else each.at(float(place))
            for (name, each), place in zip(self._space.items(), point)
        }

    def _point(self, config: Configuration) -> list[float]:
        return [
            [repr(value) for value in each.values].index(repr(config[name]))
            if isinstance(each, Choice)
            else each.share(config[name])
            for name, each in self._space.items()
        ]

"""Asynchronous successive halving (Li et al., 2020; d2l 19.5)."""

from collections import deque
from typing import Literal

from d2lcli.hpo.rungs import Rung, rung_levels
from d2lcli.hpo.search import Search, Suggest


def asha(
    suggest: Suggest,
    r_max: float,
    r_min: float = 1,
    eta: float = 3,
    variant: Literal["promotion", "stopping"] = "promotion",
    trials: int | None = None,
) -> Search:
    """Whenever a worker is free, a trial among the best floor(n / eta) of the n of a rung goes on to the next rung.

    The highest rung with such a trial is served first; where there is none, a new trial is drawn.  No worker waits for
    another.  A trial that does not go on rests, with its checkpoint, and may still go on when more results are known.

    Args:
        suggest: draws new trials.
        r_max, r_min: what a trial is trained for at the last rung, and at the first one.
        eta: above 1.
        variant: stopping judges a trial once, when it reaches a rung: it goes on at once if it is then among the best
            max(1, floor(n / eta)), or never.  Nothing is taken up again, so it suits trials that are dear to resume.
        trials: how many are drawn; None for as many as the sampler gives.

    Raises:
        ValueError: a number is out of range.
    """
    levels = rung_levels(r_min, r_max, eta)
    kind = Promotion if variant == "promotion" else Stopping
    return Search(suggest, levels, lambda trial: 0, lambda number: kind(len(levels), eta), trials)


class Promotion:
    """Trials that rest at rungs until they are among the best.

    Args:
        rungs: how many there are.
        eta: above 1.
        first: the rung that new trials train to.
    """

    def __init__(self, rungs: int, eta: float, first: int = 0) -> None:
        self.first = first
        self._rungs = [Rung(eta) for _ in range(rungs)]

    def start(self, trial: int, rung: int) -> None:
        if rung > self.first:
            self._rungs[rung - 1].take(trial)

    def report(self, trial: int, rung: int, value: float) -> None:
        self._rungs[rung].add(value, trial)

    def fail(self, trial: int, rung: int) -> None:
        """It is no entry of the rung that it did not reach; in those before it still counts."""

    def promotable(self) -> tuple[int, int] | None:
        for rung in range(len(self._rungs) - 2, self.first - 1, -1):
            trial = self._rungs[rung].promotable()
            if trial is not None:
                return trial, rung + 1
        return None

    def close(self) -> None:
        """Nothing waits for new trials."""


class Stopping(Promotion):
    """Trials that go on at once, or never."""

    def __init__(self, rungs: int, eta: float, first: int = 0) -> None:
        super().__init__(rungs, eta, first)
        self._going: deque[tuple[int, int]] = deque()
        self._best = [float("inf")] * rungs

    def start(self, trial: int, rung: int) -> None:
        if self._going and self._going[0] == (trial, rung):
            self._going.popleft()

    def report(self, trial: int, rung: int, value: float) -> None:
        super().report(trial, rung, value)
        leads = value < self._best[rung]
        self._best[rung] = min(value, self._best[rung])
        if rung + 1 < len(self._rungs) and (leads or self._rungs[rung].holds(trial)):
            self._going.append((trial, rung + 1))

    def promotable(self) -> tuple[int, int] | None:
        return self._going[0] if self._going else None

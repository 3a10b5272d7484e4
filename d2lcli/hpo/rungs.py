"""Rungs of training, and the best of those who reached one (Jamieson and Talwalkar, 2016; d2l 19.4, 19.5)."""

from heapq import heappop, heappush
from math import isfinite, log

MOST_RUNGS = 1000


def rung_levels(r_min: float, r_max: float, eta: float) -> list[float]:
    """r_min eta^k as long as that is below r_max, and then r_max itself, whether or not it is a power.

    So r_min = 2, r_max = 10, eta = 2 gives 2, 4, 8, 10 (d2l 19.4).

    Args:
        r_min: of the first rung, above 0.
        r_max: of the last one, at least r_min.
        eta: above 1.

    Raises:
        ValueError: a number is out of range, or there would be more than 1,000 rungs.
    """
    if not 0 < r_min <= r_max < float("inf"):
        raise ValueError(f"rungs must begin above 0 and not after their end: r_min={r_min!r}, r_max={r_max!r}")
    check_eta(eta)
    if log(r_max) - log(r_min) > MOST_RUNGS * log(eta):
        raise ValueError(f"r_min={r_min!r}, r_max={r_max!r} and eta={eta!r} give more than {MOST_RUNGS} rungs")
    levels, level = [], r_min
    while level < r_max * (1 - 1e-12):
        levels.append(level)
        level *= eta
    return [*levels, r_max]


def check_eta(eta: float) -> None:
    """Raises: ValueError: eta is not a number above 1."""
    if not 1 < eta < float("inf"):
        raise ValueError(f"eta={eta!r} must be above 1: the best 1 / eta of a rung go on")


def whole(share: float) -> int:
    """The whole part of a number of trials; 81 / 2.7 is 30, though floating point makes it 29.999999999999996."""
    return int(share + 1e-9)


class Rung:
    """The n trials that have reached a rung, kept in two parts: the best floor(n / eta), and the others.

    Equal values are ordered by the trial's number.  All costs grow with log n.

    Args:
        eta: above 1.
    """

    def __init__(self, eta: float) -> None:
        self.eta = eta
        self.count = 0
        self.taken: set[int] = set()  # those who have gone on
        self._best: list[tuple[float, int]] = []  # a heap with the worst of the best first: values and numbers negated
        self._others: list[tuple[float, int]] = []  # a heap with the best of the others first
        self._among: set[int] = set()  # the trials in `_best`
        self._waiting: list[tuple[float, int]] = []  # a heap; may hold some who have gone on, or are no longer the best

    def add(self, value: float, trial: int) -> None:
        """A trial has reached the rung.

        Raises:
            ValueError: its value is not a finite number: such a trial has failed.
        """
        if not isfinite(value):
            raise ValueError(f"the value of trial {trial} is {value!r}, not a finite number")
        self.count += 1
        if self._best and (value, trial) < self._worst():
            self._enter(value, trial)
        else:
            heappush(self._others, (value, trial))
        room = whole(self.count / self.eta)
        if len(self._best) > room:
            negated, number = heappop(self._best)
            self._among.discard(-number)
            heappush(self._others, (-negated, -number))
        elif len(self._best) < room:
            self._enter(*heappop(self._others))

    def promotable(self) -> int | None:
        """The best trial among the best floor(n / eta) that has not gone on; None where there is none."""
        while self._waiting:
            trial = self._waiting[0][1]
            if trial in self._among and trial not in self.taken:
                return trial
            heappop(self._waiting)
        return None

    def take(self, trial: int) -> None:
        """A trial goes on to the next rung."""
        self.taken.add(trial)

    def holds(self, trial: int) -> bool:
        """Whether a trial is among the best floor(n / eta)."""
        return trial in self._among

    def _worst(self) -> tuple[float, int]:
        negated, number = self._best[0]
        return -negated, -number

    def _enter(self, value: float, trial: int) -> None:
        heappush(self._best, (-value, -trial))
        self._among.add(trial)
        heappush(self._waiting, (value, trial))

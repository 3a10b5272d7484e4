"""Successive halving (Karnin et al., 2013; Jamieson and Talwalkar, 2016; d2l 19.4)."""

from math import ceil, log

from d2lcli.hpo.rungs import check_eta, rung_levels, whole
from d2lcli.hpo.search import Search, Suggest


def successive_halving(
    suggest: Suggest,
    r_max: float,
    r_min: float = 1,
    eta: float = 3,
    trials: int | None = None,
    budget: float | None = None,
    brackets: int = 1,
) -> Search:
    """n trials train to the first rung; when all have, the best floor(n / eta) go on to the next one, and so forth.

    Rung k, of r_min eta^k, has floor(n / eta^k) trials; the last rung, r_max, has at least one.  A worker for whom a
    round has nothing left begins with the next bracket, if there is one.

    Args:
        suggest: draws new trials.
        r_max, r_min: what a trial is trained for at the last rung, and at the first one.
        eta: above 1.
        trials: n; None is eta^K for K rungs above the first, so that one trial reaches r_max.
        budget: B, what all trials of a bracket may use in all; then r_min is B / (n ceil(log_eta n)).
        brackets: how often it is done, with new trials each time.

    Raises:
        ValueError: a number is out of range, or the budget below one rung.
    """
    check_eta(eta)
    if brackets < 1:
        raise ValueError(f"brackets={brackets!r} must be at least 1")
    size = trials if trials is not None else round(eta ** (len(rung_levels(r_min, r_max, eta)) - 1))
    if size < 1:
        raise ValueError(f"trials={size!r} must be at least 1")
    if budget is not None:
        r_min = first_rung(budget, size, eta, r_max)
    levels = rung_levels(r_min, r_max, eta)
    return Search(
        suggest, levels, lambda trial: trial // size, lambda number: Rounds(size, len(levels), eta), size * brackets
    )


def first_rung(budget: float, trials: int, eta: float, r_max: float) -> float:
    """r_0 = B / (n ceil(log_eta n)): each of the rounds uses the same (Jamieson and Talwalkar, 2016).

    Raises:
        ValueError: that is above r_max, or not above 0.
    """
    rounds = max(1, ceil(log(trials, eta) - 1e-12))
    found = budget / (trials * rounds)
    if not 0 < found <= r_max:
        raise ValueError(
            f"budget={budget!r} gives each of {trials} trials {found:g} at the first of {rounds} rungs; "
            f"it must be above 0 and at most r_max={r_max:g}"
        )
    return found


class Rounds:
    """One bracket: nobody goes on before all of a round have reached its rung, or have failed.

    Args:
        size: trials of the first round.
        rungs: how many there are.
        eta: above 1.
        first: the rung of the first round.
    """

    def __init__(self, size: int, rungs: int, eta: float, first: int = 0) -> None:
        self.first = first
        self._eta, self._rungs, self._size = eta, rungs, size
        self._rung, self._due = first, size  # of the round that is going on
        self._begun = self._failed = 0
        self._reached: list[tuple[float, int]] = []
        self._going: list[int] = []  # who is to begin this round, the best first

    def start(self, trial: int, rung: int) -> None:
        if rung > self._rung:
            self.close()  # as it was for whoever decided this: no other trial would come
        self._begun += rung == self._rung
        if trial in self._going:
            self._going.remove(trial)

    def report(self, trial: int, rung: int, value: float) -> None:
        if rung == self._rung:  # else the round was closed, and more trials were wanted later
            self._reached.append((value, trial))
            self._end_round()

    def fail(self, trial: int, rung: int) -> None:
        if rung == self._rung:
            self._failed += 1
            self._end_round()

    def promotable(self) -> tuple[int, int] | None:
        return (self._going[0], self._rung) if self._going else None

    def close(self) -> None:
        if self._rung == self.first and self._begun < self._due:
            self._size = self._due = self._begun
            self._end_round()

    def _end_round(self) -> None:
        if len(self._reached) + self._failed < self._due or self._rung + 1 >= self._rungs:
            return
        self._rung += 1
        planned = max(1, whole(self._size / self._eta ** (self._rung - self.first)))
        self._going = [trial for _, trial in sorted(self._reached)[:planned]]
        self._due, self._reached, self._failed = len(self._going), [], 0

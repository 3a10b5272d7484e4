"""The plainest asynchronous successive halving, and searches that are wrong in one thing each."""

from collections.abc import Callable
from math import ceil

from simulated import ETA, LEVELS

from d2lcli.hpo.asha import Stopping
from d2lcli.hpo.events import Job
from d2lcli.hpo.search import Bracket, Search, Suggest
from d2lcli.hpo.successive_halving import Rounds


class Plain:
    """Asynchronous successive halving in the plainest way: each decision sorts all.  Wrong ones change a line."""

    first = 0

    def __init__(self, rungs: int) -> None:
        self.values: list[dict[int, float]] = [{} for _ in range(rungs)]
        self.gone: list[set[int]] = [set() for _ in range(rungs)]
        self.order = list(reversed(range(rungs - 1)))

    def start(self, trial: int, rung: int) -> None:
        if rung:
            self.gone[rung - 1].add(trial)

    def report(self, trial: int, rung: int, value: float) -> None:
        self.values[rung][trial] = value

    def fail(self, trial: int, rung: int) -> None:
        pass

    def close(self) -> None:
        pass

    def promotable(self) -> tuple[int, int] | None:
        for rung in self.order:
            for trial in self.best(rung):
                if trial not in self.gone[rung]:
                    return trial, rung + 1
        return None

    def best(self, rung: int) -> list[int]:
        ranked = sorted(self.entries(rung), key=lambda trial: (self.score(trial, rung), trial))
        return ranked[: self.places(len(ranked))]

    def entries(self, rung: int) -> list[int]:
        return list(self.values[rung])

    def score(self, trial: int, rung: int) -> float:
        return self.values[rung][trial]

    def places(self, count: int) -> int:
        return count // ETA


class WrongSign(Plain):
    def score(self, trial: int, rung: int) -> float:
        return -super().score(trial, rung)


class RoundsUp(Plain):
    def places(self, count: int) -> int:
        return ceil(count / ETA)


class FromBelow(Plain):
    """Serves the lowest rung first."""

    def __init__(self, rungs: int) -> None:
        super().__init__(rungs)
        self.order = list(range(rungs - 1))


class ThoseWhoRest(Plain):
    """Takes the best of those who rest, not of all who came."""

    def entries(self, rung: int) -> list[int]:
        return [trial for trial in self.values[rung] if trial not in self.gone[rung]]


class Twice(Plain):
    """Lets every trial go on twice from where it rests."""

    def __init__(self, rungs: int) -> None:
        super().__init__(rungs)
        self.once: set[tuple[int, int]] = set()

    def start(self, trial: int, rung: int) -> None:
        if (trial, rung) in self.once:
            super().start(trial, rung)
        self.once.add((trial, rung))


class OneRung(Plain):
    """Halves at the first rung only."""

    def __init__(self, rungs: int) -> None:
        super().__init__(rungs)
        self.order = [0]


class Barrier(Plain):
    """Waits until nine more have come."""

    def best(self, rung: int) -> list[int]:
        return super().best(rung) if len(self.values[rung]) % 9 == 0 else []


class LastOnes(Plain):
    """Compares with the last eta that came."""

    def entries(self, rung: int) -> list[int]:
        return list(self.values[rung])[-ETA:]


class BestOfAnyRung(Plain):
    """Compares the best that trials ever had."""

    def score(self, trial: int, rung: int) -> float:
        return min(values[trial] for values in self.values if trial in values)


class FailuresFirst(Plain):
    """Sorts NaN before all numbers."""

    def fail(self, trial: int, rung: int) -> None:
        self.values[rung][trial] = -float("inf")


class Idles(Search):
    """Leaves a worker without a job."""

    def next(self) -> Job | None:
        return super().next() if self.running < 3 else None


def search_of(kind: Callable[[int], Bracket], suggest: Suggest, trials: int | None = None) -> Search:
    return Search(suggest, LEVELS, lambda trial: 0, lambda number: kind(len(LEVELS)), trials)


def search_of_wrong(name: str, suggest: Suggest) -> Search:
    if name == "idles":
        return Idles(suggest, LEVELS, lambda trial: 0, lambda number: Plain(len(LEVELS)))
    if name == "linear":
        return Search(suggest, [1, 21, 41, 61, 81], lambda trial: 0, lambda number: Plain(5))
    return search_of(Plain if name == "from_scratch" else WRONG[name], suggest)


WRONG: dict[str, type[Plain]] = {
    "sign": WrongSign, "rounds_up": RoundsUp, "from_below": FromBelow, "those_who_rest": ThoseWhoRest,
    "twice": Twice, "one_rung": OneRung, "barrier": Barrier, "last_ones": LastOnes,
    "best_of_any_rung": BestOfAnyRung, "failures_first": FailuresFirst,
}  # fmt: skip


class TooLate(Stopping):
    """Lets those go on that are among the best later."""

    def promotable(self) -> tuple[int, int] | None:
        for rung in range(len(self._rungs) - 1):
            trial = self._rungs[rung].promotable()
            if trial is not None:
                self._rungs[rung].take(trial)
                return trial, rung + 1
        return None


class StopsTheFirst(Stopping):
    """Keeps strictly to floor(n / eta), so that the first trials all stop."""

    def report(self, trial: int, rung: int, value: float) -> None:
        self._best[rung] = -float("inf")
        super().report(trial, rung, value)


class TooEarly(Rounds):
    """Goes on when half of the round is there."""

    def report(self, trial: int, rung: int, value: float) -> None:
        self._failed += 1
        super().report(trial, rung, value)


class TooMany(Rounds):
    """Has a place more in each round."""

    def __init__(self, size: int, rungs: int, eta: float) -> None:
        super().__init__(size + 3, rungs, eta)
        self._due = size


class WorstOfAll(Rounds):
    def report(self, trial: int, rung: int, value: float) -> None:
        super().report(trial, rung, -value)

"""Who may go on and who has to, by the rules of each kind of search; for the check of a log."""

from bisect import bisect_left, bisect_right, insort
from math import ceil, floor
from typing import Protocol

ROUNDING = 1e-9  # a rounding error of a division is not to cost a place


class Judge(Protocol):
    """The trials of one bracket, as the log has them so far."""

    first: int  # the rung at which they begin

    def begin(self) -> list[str]:
        """What a new trial breaks."""

    def start(self, trial: int, rung: int) -> None:
        """A trial is being trained to a rung."""

    def report(self, trial: int, rung: int, value: float) -> None:
        """A trial has reached a rung."""

    def fail(self, trial: int, rung: int) -> None:
        """A trial was given up on the way to a rung."""

    def close(self) -> None:
        """No new trial will come."""

    def refuses(self, trial: int, rung: int) -> str:
        """Why a trial that rests at the rung before must not go on; empty where it may."""

    def waits(self, rung: int = 0) -> int | None:
        """A trial that rests at this rung or a higher one and has to go on, however equal values are ordered."""


class Promoting:
    """Asynchronous successive halving (Li et al., 2020).

    Args:
        eta: above 1.
        first: the rung at which trials begin.
        rungs: how many there are.
        exact: floor(n / eta) may go on; else up to ceil(n / eta).
    """

    def __init__(self, eta: float, first: int, rungs: int, exact: bool) -> None:
        self.first = first
        self._eta, self._exact = eta, exact
        self._rungs = [_Entries() for _ in range(rungs)]

    def begin(self) -> list[str]:
        return []

    def start(self, trial: int, rung: int) -> None:
        if rung > self.first:
            self._rungs[rung - 1].take(trial)

    def report(self, trial: int, rung: int, value: float) -> None:
        self._rungs[rung].add(value, trial)

    def fail(self, trial: int, rung: int) -> None:
        """It counts where it has been, and nowhere else."""

    def close(self) -> None:
        """Nothing waits for new trials."""

    def refuses(self, trial: int, rung: int) -> str:
        entries = self._rungs[rung - 1]
        place, count = entries.place(trial), len(entries)
        places = self._most(count)
        return "" if place <= places else f"C2: it is number {place} of {count}, and only the best {places} may go on"

    def waits(self, rung: int = 0) -> int | None:
        for entries in reversed(self._rungs[max(rung, self.first) : -1]):
            if (trial := entries.must_go(_whole(len(entries) / self._eta))) is not None:
                return trial
        return None

    def _most(self, count: int) -> int:
        """How many of a rung may go on."""
        return _whole(count / self._eta) if self._exact else ceil(count / self._eta - ROUNDING)


class Stopping(Promoting):
    """Its stopping variant: a trial is judged once, when it reaches a rung."""

    def __init__(self, eta: float, first: int, rungs: int, exact: bool) -> None:
        super().__init__(eta, first, rungs, exact)
        self._stopped: dict[tuple[int, int], str] = {}  # trial and next rung -> why
        self._going: set[int] = set()

    def start(self, trial: int, rung: int) -> None:
        self._going.discard(trial)

    def report(self, trial: int, rung: int, value: float) -> None:
        super().report(trial, rung, value)
        entries = self._rungs[rung]
        place, most = entries.place(trial), max(1, self._most(len(entries)))
        if place > most:
            reason = f"it was number {place} of {len(entries)}, and only the best {most} went on"
            self._stopped[trial, rung + 1] = f"C0: when it reported, {reason}"
        elif rung + 1 < len(self._rungs) and entries.last_place(trial) <= max(1, _whole(len(entries) / self._eta)):
            self._going.add(trial)

    def refuses(self, trial: int, rung: int) -> str:
        return self._stopped.get((trial, rung), "")

    def waits(self, rung: int = 0) -> int | None:
        """Those who have to go on do so in any order."""
        return next(iter(self._going), None) if rung == 0 else None


class Rounding:
    """Rounds of successive halving: round k has floor(n / eta^k) trials, the best of the round before.

    Args:
        eta: above 1.
        first: the rung of the first round.
        rungs: how many there are.
        size: n.
    """

    def __init__(self, eta: float, first: int, rungs: int, size: int) -> None:
        self.first = first
        self._eta, self._rungs, self._size = eta, rungs, size
        self._rung, self._due = first, size  # of the round that is going on
        self._begun = self._ended = 0
        self._before, self._reached = _Entries(), _Entries()  # results of the round before, and of this one

    def begin(self) -> list[str]:
        return [f"C5: its bracket has gone on to rung {self._rung} without it"] if self._rung > self.first else []

    def start(self, trial: int, rung: int) -> None:
        if rung == self._rung + 1:
            self._open()
        self._begun += 1
        self._before.take(trial)

    def report(self, trial: int, rung: int, value: float) -> None:
        if rung == self._rung:
            self._ended += 1
            self._reached.add(value, trial)

    def fail(self, trial: int, rung: int) -> None:
        self._ended += rung == self._rung

    def close(self) -> None:
        if self._rung == self.first:
            self._size = self._due = self._begun

    def refuses(self, trial: int, rung: int) -> str:
        if rung == self._rung:
            if self._begun >= self._due:
                return f"C2: all {self._due} places of rung {rung} are taken"
            entries, places = self._before, self._due
        else:
            # A first round may be short, where no more trials come.  If one comes after all, `begin` says so.
            due = self._begun if self._rung == self.first else self._due
            if self._ended < due:
                return f"C2: {due - self._ended} of {due} trials are still on their way to rung {self._rung}"
            entries, places = self._reached, self._planned()
        place = entries.place(trial)
        return "" if place <= places else f"C2: it is number {place}, and rung {rung} has {places} places"

    def waits(self, rung: int = 0) -> int | None:
        """The round before has no one left when this one is complete."""
        if rung:
            return None
        if self._ended < self._due:
            return self._before.must_go(self._due)
        return self._reached.must_go(self._planned()) if self._rung + 1 < self._rungs else None

    def _open(self) -> None:
        """The next round begins."""
        self.close()
        self._due = self._planned()
        self._rung += 1
        self._begun = self._ended = 0
        self._before, self._reached = self._reached, _Entries()

    def _planned(self) -> int:
        """Trials of the next round."""
        size = self._begun if self._rung == self.first else self._size
        return min(max(1, _whole(size / self._eta ** (self._rung + 1 - self.first))), len(self._reached))


class _Entries:
    """The trials that have reached a rung: all their values, and who of them rests there still."""

    def __init__(self) -> None:
        self._values: list[float] = []
        self._value_of: dict[int, float] = {}
        self._resting: list[tuple[float, int]] = []

    def __len__(self) -> int:
        return len(self._values)

    def add(self, value: float, trial: int) -> None:
        insort(self._values, value)
        insort(self._resting, (value, trial))
        self._value_of[trial] = value

    def take(self, trial: int) -> None:
        """It rests no more."""
        entry = (self._value_of.get(trial, 0.0), trial)
        place = bisect_left(self._resting, entry)
        if self._resting[place : place + 1] == [entry]:
            del self._resting[place]

    def place(self, trial: int) -> int:
        """1 for the best; of equal values all have the best place.  Who is not here comes after all others."""
        value = self._value_of.get(trial)
        return len(self) + 1 if value is None else bisect_left(self._values, value) + 1

    def last_place(self, trial: int) -> int:
        """The same, where of equal values all have the worst place."""
        return bisect_right(self._values, self._value_of[trial])

    def must_go(self, places: int) -> int | None:
        """A trial that rests and is among the best so many, however equal values are ordered."""
        if not places or not self._resting:
            return None
        (value, trial), last = self._resting[0], self._values[places - 1]
        if value != last:
            return trial if value < last else None
        # All that are better have gone on.  Have enough of the equal ones, to fill the places that remain?
        better, not_worse = bisect_left(self._values, last), bisect_right(self._values, last)
        gone = not_worse - better - bisect_right(self._resting, (last, float("inf")))
        return trial if gone < places - better else None


def _whole(share: float) -> int:
    return floor(share + ROUNDING)

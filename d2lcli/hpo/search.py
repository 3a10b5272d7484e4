"""What all searches share: trials, samplers that draw them, brackets that say how long each one trains.

A search is a function of the events so far.  `record` takes one more of them, `next` says what a free worker is to do,
and changes nothing: the worker's `start` has to be recorded before the next one asks.
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from d2lcli.hpo.events import Event, Job
from d2lcli.hpo.space import Configuration


@dataclass
class Trial:
    """One configuration and what is known of it.

    Attributes:
        number: from 0 on.
        config: its values.
        values: what was reported at each rung; smaller is better.
        running: the rung that it is being trained to, or is to be trained to by another worker; None where it rests.
        attempt: how often it was started.
        failed: it was given up.
    """

    number: int
    config: Configuration
    values: dict[int, float] = field(default_factory=dict)
    running: int | None = None
    attempt: int = 0
    failed: bool = False


class Suggest(Protocol):
    """What a sampler's builder returns."""

    def __call__(self, trial: int, trials: Sequence[Trial] = ()) -> Configuration | None:
        """The configuration of the trial of this number, given the trials so far, or None where there is no more."""


class Bracket(Protocol):
    """Decides who of its trials goes on to which rung."""

    first: int  # the rung that a new trial trains to

    def start(self, trial: int, rung: int) -> None:
        """A trial is being trained to a rung."""

    def report(self, trial: int, rung: int, value: float) -> None:
        """A trial has reached a rung."""

    def fail(self, trial: int, rung: int) -> None:
        """A trial was given up on the way to a rung."""

    def promotable(self) -> tuple[int, int] | None:
        """A trial that rests, and the rung it is to go on to; the highest such rung."""

    def close(self) -> None:
        """No new trial will come."""


class Search:
    """A sampler and brackets.

    Args:
        suggest: draws new trials.
        levels: what a trial has been trained for at each rung.
        bracket_of: from a trial's number to the number of its bracket.
        make: makes a bracket from its number.
        trials: how many are drawn; None for as many as the sampler gives.

    Attributes:
        trials: all so far.
    """

    def __init__(
        self,
        suggest: Suggest,
        levels: Sequence[float],
        bracket_of: Callable[[int], int],
        make: Callable[[int], Bracket],
        trials: int | None = None,
    ) -> None:
        if trials is not None and trials < 1:
            raise ValueError(f"trials={trials!r} must be at least 1")
        self.levels = list(levels)
        self.trials: list[Trial] = []
        self.running = 0
        self.most = trials
        self._suggest, self._bracket_of, self._make = suggest, bracket_of, make
        self._brackets: dict[int, Bracket] = {}
        self._released: deque[tuple[int, int]] = deque()

    def record(self, event: Event) -> None:
        """Take in what happened next."""
        if event.kind == "start":
            self._start(event)
            return
        trial = self.trials[event.trial]
        self.running -= 1
        if event.kind == "release":
            self._released.append((event.trial, event.rung))
            return
        trial.running = None
        bracket = self._bracket(event.trial)
        if event.kind == "report":
            assert event.value is not None
            trial.values[event.rung] = event.value
            bracket.report(event.trial, event.rung, event.value)
        else:
            trial.failed = True
            bracket.fail(event.trial, event.rung)

    def next(self) -> Job | None:
        """The job of a free worker; None where there is none now, and none at all where nobody is running either."""
        if self._released:
            trial, rung = self._released[0]
            return Job(trial, rung, self.levels[rung])
        for bracket in self._brackets.values():
            if found := bracket.promotable():
                return Job(*found, self.levels[found[1]])
        return self._new()

    @property
    def done(self) -> bool:
        """Whether nothing is left to do."""
        return not self.running and self.next() is None

    def _new(self) -> Job | None:
        number = len(self.trials)
        if self.most is None or number < self.most:
            config = self._suggest(number, self.trials)
            if config is not None:
                rung = self._bracket(number).first
                return Job(number, rung, self.levels[rung], config)
        for bracket in self._brackets.values():
            bracket.close()
        for bracket in self._brackets.values():
            if found := bracket.promotable():  # a round that is complete because nobody else will come
                return Job(*found, self.levels[found[1]])
        return None

    def _start(self, event: Event) -> None:
        if event.trial == len(self.trials):
            assert event.config is not None
            self.trials.append(Trial(event.trial, event.config))
        trial = self.trials[event.trial]
        if self._released and self._released[0] == (event.trial, event.rung):
            self._released.popleft()
        else:
            self._bracket(event.trial).start(event.trial, event.rung)
        trial.running, trial.attempt = event.rung, event.attempt
        self.running += 1

    def _bracket(self, trial: int) -> Bracket:
        number = self._bracket_of(trial)
        if number not in self._brackets:
            self._brackets[number] = self._make(number)
        return self._brackets[number]

"""Checks the log of a search against the rules of its algorithm, by other means than the algorithm's own code.

C0 of the stopping variant: a trial is among the best when it reports, or never goes on.  C1 a trial goes on once, from
where it rests, and a job ends once.  C2 who goes on is among the best floor(n / eta) of all n that have reached the
rung (in rounds: among the best floor(n / eta^k), and the round is complete).  C3 no trial of a higher rung could go on.
C4 it goes on from its checkpoint.  C5 nothing new begins while a trial could go on.  C6 values are the true ones.
C7 nobody is idle while there is work.  C8 no trial goes beyond the last rung.  C9 rungs are the levels.  C10 a failure
never goes on.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from math import isclose, isfinite
from typing import Any, Literal

from d2lcli.hpo.events import Event
from d2lcli.hpo.hyperband import bracket_sizes
from d2lcli.hpo.rungs import rung_levels
from d2lcli.hpo.space import Configuration
from d2lcli.hpo.trace_rules import Judge, Promoting, Rounding, Stopping


@dataclass(frozen=True)
class Brackets:
    """Which trials compete with each other, and how.

    Args:
        variant: of all brackets.
        of: from a trial's number to its bracket's.
        first: from a bracket's number to the rung at which its trials begin.
        size: from a bracket's number to the trials of its first round; of rounds only.
    """

    variant: Literal["promotion", "stopping", "rounds"] = "promotion"
    of: Callable[[int], int] = lambda trial: 0
    first: Callable[[int], int] = lambda bracket: 0
    size: Callable[[int], int] = lambda bracket: 1


@dataclass(frozen=True)
class Clock:
    """What is known besides the log where the clock is a simulated one.

    Args:
        workers: how many there are.
        value: of a configuration at a resource.
        seconds: of training a configuration from the beginning to a resource.
        slack: seconds by which a job may take longer.
    """

    workers: int
    value: Callable[[Configuration, float], float]
    seconds: Callable[[Configuration, float], float]
    slack: float = 0.0


@dataclass
class _Run:
    """One trial as the log has it so far."""

    config: Configuration
    start: Event | None = None  # of the job that is going on
    given_back: int | None = None  # the rung of a job that waits for another worker
    attempt: int = 0
    rung: int = -1  # of the last report
    used: float = 0.0  # resource at the last report
    failed: bool = False


def check_trace(
    events: Sequence[Event],
    levels: Sequence[float],
    eta: float,
    brackets: Brackets | None = None,
    *,
    trials: int | None = None,
    floor: bool = True,
    exact: bool = True,
    done: bool = False,
    clock: Clock | None = None,
) -> list[str]:
    """What a log has against the rules, in words; nothing where all is right.  Equal values may be ordered in any way.

    Args:
        events: in the order in which they were decided.
        levels: what a trial has been trained for at each rung.
        eta: of the search.
        brackets: which trials compete; all of them, by promotion, where it is left out.
        trials: how many are drawn at most; None where there are always more, or where nobody knows.
        floor: False accepts a cut at the quantile 1 / eta, which lets up to ceil(n / eta) go on.
        exact: a report has used what its rung says; not so of seconds, or where a run may end before its time.
        done: the search says that nothing is left to do.
        clock: of a simulation; without one C6, C7 and the times of C4 are not checked.
    """
    trace = _Trace(list(levels), eta, brackets or Brackets(), trials, floor, exact, clock)
    for number, event in enumerate(events):
        trace.take(number, event)
    if done and (left := trace.left()):
        trace.found.append(f"at the end: C7: the search is done, but {left}")
    return trace.found


class _Trace:
    """What is known after some events, and what was found wrong with them."""

    def __init__(
        self,
        levels: list[float],
        eta: float,
        brackets: Brackets,
        trials: int | None,
        floor: bool,
        exact: bool,
        clock: Clock | None,
    ) -> None:
        self.found: list[str] = []
        self._levels, self._eta, self._brackets = levels, eta, brackets
        self._trials, self._floor, self._exact, self._clock = trials, floor, exact, clock
        self._runs: dict[int, _Run] = {}
        self._judges: dict[int, Judge] = {}
        self._given_back: dict[int, None] = {}  # trials, in order
        self._busy: dict[int, Event] = {}  # trial -> the start of its job
        self._time = float("-inf")

    def take(self, number: int, event: Event) -> None:
        """Check one event against all before it, then take it in."""
        reasons = self._idle(event.time)
        if not 0 <= event.rung < len(self._levels):
            reasons.append(f"C8: the rungs are 0 to {len(self._levels) - 1}")
        elif event.kind == "start":
            reasons += self._start(event)
        else:
            reasons += self._end(event)
        what = f"event {number}, {event.kind} of trial {event.trial} at rung {event.rung} by worker {event.worker}"
        self.found += [f"{what}: {reason}" for reason in reasons]

    def left(self) -> str:
        """What is unfinished, in words; empty where nothing is."""
        if self._busy:
            return f"trial {next(iter(self._busy))} is running"
        if self._given_back:
            return f"trial {next(iter(self._given_back))} was given back"
        if self._trials is not None and len(self._runs) < self._trials:
            return f"{len(self._runs)} of {self._trials} trials have begun"
        for judge in self._judges.values():
            judge.close()
        waits = self._waits()
        return "" if waits is None else f"trial {waits} could go on"

    def _waits(self) -> int | None:
        """A trial that has to go on."""
        return next((found for judge in self._judges.values() if (found := judge.waits()) is not None), None)

    def _idle(self, time: float) -> list[str]:
        """C7: up to this time, after all that happened before, somebody had nothing to do."""
        if self._clock is None or time <= self._time:
            return []
        since, self._time = self._time, time
        idle = self._clock.workers - len(self._busy)
        if not self._runs or not idle:
            return []
        if self._given_back or (waits := self._waits()) is not None:
            work = f"trial {next(iter(self._given_back), None) if self._given_back else waits} could go on"
        elif self._trials is None or len(self._runs) < self._trials:
            work = "a new trial could begin"
        else:
            return []
        return [f"C7: {idle} workers were idle from time {since:g} on, while {work}"]

    def _start(self, event: Event) -> list[str]:
        reasons = [] if event.resource == self._levels[event.rung] else [self._wrong_level(event)]
        if event.worker and (other := self._job_of(event.worker)) is not None:
            reasons.append(f"C1: the worker is busy with trial {other}")
        judge, run = self._judge(event.trial), self._runs.get(event.trial)
        if run is None:
            reasons += self._begin(event, judge)
            run = self._runs[event.trial] = _Run(event.config or {})
        else:
            reasons += self._go_on(event, run, judge)
        if run.given_back is None:
            judge.start(event.trial, event.rung)
        self._given_back.pop(event.trial, None)
        self._busy[event.trial] = event
        run.start, run.given_back, run.attempt = event, None, event.attempt
        return reasons

    def _begin(self, event: Event, judge: Judge) -> list[str]:
        """A trial of which nothing was known."""
        reasons = judge.begin()
        if (event.trial, event.attempt) != (len(self._runs), 1) or event.config is None:
            reasons.append(f"C1: the next new trial is {len(self._runs)}, attempt 1, with its configuration")
        if event.rung != judge.first:
            reasons.append(f"C1: trials of its bracket begin at rung {judge.first}")
        if self._trials is not None and len(self._runs) >= self._trials:
            reasons.append(f"C5: all {self._trials} trials have begun")
        if self._given_back:
            reasons.append(f"C5: a new trial begins while trial {next(iter(self._given_back))} was given back")
        if (waits := self._waits()) is not None:
            reasons.append(f"C5: a new trial begins while trial {waits} could go on")
        return reasons

    def _go_on(self, event: Event, run: _Run, judge: Judge) -> list[str]:
        """A trial that has begun before."""
        reasons = []
        if event.attempt != run.attempt + 1:
            reasons.append(f"C1: attempt {event.attempt} follows attempt {run.attempt}")
        if run.failed:
            reasons.append("C10: the trial has failed")
        elif run.start is not None:
            reasons.append(f"C1: worker {run.start.worker} is busy with it")
        elif run.given_back is not None:
            if event.rung != run.given_back:
                reasons.append(f"C1: it was given back on the way to rung {run.given_back}")
        elif event.rung != run.rung + 1:
            reasons.append(f"C1: it rests at rung {run.rung}")
        else:
            if self._given_back:
                reasons.append(f"C3: it goes on while trial {next(iter(self._given_back))} was given back")
            if refused := judge.refuses(event.trial, event.rung):
                reasons.append(refused)
            if (waits := judge.waits(event.rung)) is not None:
                reasons.append(f"C3: it goes on while trial {waits}, of a higher rung, could")
        return reasons

    def _end(self, event: Event) -> list[str]:
        run = self._runs.get(event.trial)
        start = run.start if run else None
        if run is None or start is None:
            return ["C1: nobody is busy with it"]
        if (event.rung, event.attempt, event.worker) != (start.rung, start.attempt, start.worker):
            return [f"C1: busy with it is worker {start.worker}, attempt {start.attempt} at rung {start.rung}"]
        del self._busy[event.trial]
        run.start, judge = None, self._judge(event.trial)
        if event.kind == "release":
            run.given_back = event.rung
            self._given_back[event.trial] = None
            return []
        if event.kind == "report" and event.value is not None and isfinite(event.value):
            reasons = self._report(event, start, run)
            run.rung, run.used = event.rung, event.resource
            judge.report(event.trial, event.rung, event.value)
            return reasons
        run.failed = True
        judge.fail(event.trial, event.rung)
        return [] if event.kind == "fail" else [f"C10: the value {event.value} is a failure, not a result"]

    def _report(self, event: Event, start: Event, run: _Run) -> list[str]:
        """A result: its resource, its time and its value."""
        reasons = []
        if self._exact and event.resource != self._levels[event.rung]:
            reasons.append(self._wrong_level(event))
        if event.resource < run.used:
            reasons.append(f"C4: it has used {event.resource:g} in all, but had used {run.used:g} before")
        if self._clock is None:
            return reasons
        seconds = self._clock.seconds(run.config, event.resource) - self._clock.seconds(run.config, run.used)
        took, most = event.time - start.time, seconds + self._clock.slack
        if took > most and not isclose(took, most, rel_tol=1e-9, abs_tol=1e-9):
            reasons.append(f"C4: it took {took:g} seconds; from its checkpoint at {run.used:g}, {most:g} are enough")
        if event.value != (true := self._clock.value(run.config, event.resource)):
            reasons.append(f"C6: its value is {event.value}, the true one {true}")
        return reasons

    def _wrong_level(self, event: Event) -> str:
        rule = "C8" if event.resource > self._levels[-1] else "C9"
        return f"{rule}: its resource is {event.resource:g}, that of the rung {self._levels[event.rung]:g}"

    def _job_of(self, worker: str) -> int | None:
        return next((trial for trial, start in self._busy.items() if start.worker == worker), None)

    def _judge(self, trial: int) -> Judge:
        number = self._brackets.of(trial)
        if number not in self._judges:
            first, rungs = self._brackets.first(number), len(self._levels)
            if self._brackets.variant == "rounds":
                self._judges[number] = Rounding(self._eta, first, rungs, self._brackets.size(number))
            else:
                kind = Promoting if self._brackets.variant == "promotion" else Stopping
                self._judges[number] = kind(self._eta, first, rungs, self._floor)
        return self._judges[number]


def brackets_of(node: Mapping[str, Any], levels: Sequence[float], trials: int | None) -> Brackets:
    """The brackets of a search, from its config.

    Args:
        node: `name` and the options of the search.
        levels: its rungs.
        trials: how many are drawn; None for the search's own number.
    """
    name, variant = node["name"], node.get("variant")
    if name == "successive_halving":
        rungs = len(rung_levels(node["r_min"], levels[-1], node["eta"]))
        size = trials if trials is not None else round(node["eta"] ** (rungs - 1))
        return Brackets("rounds", lambda trial: trial // size, size=lambda bracket: size)
    if name != "hyperband":
        return Brackets("stopping" if variant == "stopping" else "promotion")
    sizes = bracket_sizes(len(levels), node["eta"])
    ends = list(accumulate(sizes))

    def bracket(trial: int) -> int:
        round_, place = divmod(trial, ends[-1])
        number = sum(end <= place for end in ends)
        return number if variant == "asha" else round_ * len(sizes) + number

    return Brackets(
        "promotion" if variant == "asha" else "rounds",
        bracket,
        first=lambda number: number % len(sizes),
        size=lambda number: sizes[number % len(sizes)],
    )

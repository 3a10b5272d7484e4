"""Drives a search by a simulated clock, on learning curves in closed form; for tests and comparisons."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from math import ceil, exp, isfinite, log, modf, sin, sqrt
from random import Random
from time import perf_counter
from typing import Any, Protocol

from d2lcli.hpo.events import Event, Job
from d2lcli.hpo.search import Search
from d2lcli.hpo.space import Choice, Configuration, Float, Int, Space

R_MAX = 81  # epochs of a whole training


class Curves(Protocol):
    """What training would give, and what it takes."""

    def value(self, config: Configuration, epochs: float) -> float:
        """What is minimised, after so many epochs; NaN where training has diverged."""

    def seconds(self, config: Configuration, epochs: float) -> float:
        """From the beginning to so many epochs."""


@dataclass
class Outcome:
    """What happened.

    Attributes:
        events: in the order in which they were decided.
        seconds: at the last event.
        idle: seconds that workers had nothing to do, of all workers together.
        trained, redone: epochs in all, and those of them that had been trained before.
        decisions: how often the search was asked, or told something.
        thinking: real seconds that it took for that.
    """

    events: list[Event] = field(default_factory=list)
    seconds: float = 0.0
    idle: float = 0.0
    trained: float = 0.0
    redone: float = 0.0
    decisions: int = 0
    thinking: float = 0.0


def simulate(
    search: Search,
    curves: Curves,
    workers: int,
    *,
    until: float = float("inf"),
    resume: float = 0.0,
    every: float = 0.0,
    losses: float = 0.0,
    checkpoints: bool = True,
    seed: int = 0,
) -> Outcome:
    """Let workers take jobs until there are none, or the time is over.

    Args:
        search: before any event.
        curves: of its configurations.
        workers: how many there are.
        until: seconds.
        resume: seconds that it costs to go on with a trial.
        every: results are noticed at multiples of so many seconds, and pile up until then; 0 notices each at once.
        losses: the probability that a worker is lost during a job; what it has done up to a whole epoch is kept.
        checkpoints: without them, each job trains from the beginning.
        seed: of the losses.
    """
    clock = _Clock(search, curves, workers, resume, every, losses, checkpoints, Random(seed))
    while clock.ends and clock.ends[0][0] <= until:
        clock.advance()
    clock.close(until)
    return clock.outcome


class _Clock:
    """The workers of a simulation, and what ends next."""

    def __init__(
        self,
        search: Search,
        curves: Curves,
        workers: int,
        resume: float,
        every: float,
        losses: float,
        checkpoints: bool,
        random: Random,
    ) -> None:
        self.outcome = Outcome()
        self.ends: list[tuple[float, int, Event, float]] = []  # when, a count, the start, and epochs reached by then
        self._search, self._curves, self._workers = search, curves, workers
        self._resume, self._every, self._losses = resume, every, losses
        self._checkpoints, self._random = checkpoints, random
        self._free = {worker: 0.0 for worker in range(workers)}  # since when
        self._kept: dict[int, float] = {}  # epochs in the checkpoint of each trial
        self._configs: dict[int, Configuration] = {}
        self._begun = 0
        self._give_jobs(0.0)

    def advance(self) -> None:
        """Take in all that ends next at one time; then every free worker asks for a job."""
        time = self.ends[0][0]
        while self.ends and self.ends[0][0] == time:
            _, _, start, epochs = heappop(self.ends)
            self._end(start, time, epochs)
        self._give_jobs(time)

    def close(self, until: float) -> None:
        """Count the idle time up to the end."""
        end = min(until, self.outcome.seconds) if not self.ends else until
        self.outcome.idle += sum(end - since for since in self._free.values())

    def _give_jobs(self, time: float) -> None:
        for worker in list(self._free):
            begun = perf_counter()
            job = self._search.next()
            self._count(begun)
            if job is None:
                return
            self.outcome.idle += time - self._free.pop(worker)
            self._start(job, worker, time)

    def _start(self, job: Job, worker: int, time: float) -> None:
        if job.config is not None:
            self._configs[job.trial] = job.config
        attempt = self._search.trials[job.trial].attempt + 1 if job.config is None else 1
        start = Event(
            "start", job.trial, job.rung, job.resource,
            config=job.config, worker=str(worker), time=time, attempt=attempt,
        )  # fmt: skip
        self._record(start)
        config, kept = self._configs[job.trial], self._kept.get(job.trial, 0.0)
        have = kept if self._checkpoints else 0.0
        before = self._curves.seconds(config, have)
        takes = self._curves.seconds(config, job.resource) - before + (self._resume if attempt > 1 else 0.0)
        reached = job.resource
        if self._losses and self._random.random() < self._losses:
            share = self._random.random()
            takes *= share
            reached = have + share * (job.resource - have)
        self.outcome.trained += reached - have
        self.outcome.redone += max(0.0, min(kept, reached) - have)
        self._begun += 1
        heappush(self.ends, (self._noticed(time + takes), self._begun, start, reached))

    def _end(self, start: Event, time: float, epochs: float) -> None:
        trial, worker = start.trial, start.worker
        self._free[int(worker)] = time
        self.outcome.seconds = time
        same: dict[str, Any] = {
            "trial": trial,
            "rung": start.rung,
            "worker": worker,
            "time": time,
            "attempt": start.attempt,
        }
        if epochs < start.resource:
            kept = max(self._kept.get(trial, 0.0), float(int(epochs)))
            self.outcome.redone += epochs - kept
            self._kept[trial] = kept
            self._record(Event("release", resource=start.resource, reason="its worker was lost", **same))
            return
        self._kept[trial] = start.resource
        value = self._curves.value(self._configs[trial], start.resource)
        if isfinite(value):
            self._record(Event("report", resource=start.resource, value=value, **same))
        else:
            self._record(Event("fail", resource=start.resource, reason=f"the value is {value}", **same))

    def _record(self, event: Event) -> None:
        begun = perf_counter()
        self._search.record(event)
        self._count(begun)
        self.outcome.events.append(event)

    def _count(self, begun: float) -> None:
        self.outcome.thinking += perf_counter() - begun
        self.outcome.decisions += 1

    def _noticed(self, time: float) -> float:
        return ceil(time / self._every - 1e-9) * self._every if self._every else time


class Synth:
    """Curves that cross, in closed form: validation errors of a net by learning rate, width, weight decay, activation.

    e(t) = min(.9, f + (.9 - f) (1 + t / tau)^-.91 + .036 (h_t - 1/2) / sqrt(t)).  The floor f is a bowl in the first
    three, whose best learning rate falls with the width; tau, the epochs to learn, rises with the width and the decay
    and falls with the learning rate, so that the best nets are among the slow ones; h_t is a fixed draw from U[0, 1)
    for each configuration and epoch.  Over 4,096 of them the rank correlation with the value after 81 epochs is .63,
    .71, .84 and .96 after 1, 3, 9 and 27, and one in 80 comes within one point of the best.  An epoch takes .38 to 2.04
    seconds, 1 on average.

    Args:
        diverging: the share of configurations that give NaN from some epoch on.
    """

    space: Space = {  # noqa: RUF012 -- nobody changes it
        "lr": Float(1e-4, 1, log=True),
        "width": Int(16, 512, log=True),
        "decay": Float(1e-6, 1e-1, log=True),
        "activation": Choice(("relu", "gelu", "tanh")),
    }

    def __init__(self, diverging: float = 0.0) -> None:
        self._diverging = diverging

    def value(self, config: Configuration, epochs: float) -> float:
        """The validation error after so many epochs."""
        lr, width, decay, kind = _places(config)
        diverges = self._diverging and _draw(lr, width, decay, kind, -1) < self._diverging
        if diverges and epochs >= R_MAX ** _draw(lr, width, decay, kind, -2):
            return float("nan")
        floor = 0.05 + 0.96 * (lr - 0.67 + 0.17 * width) ** 2 + 0.031 * (1 - width) ** 2
        floor += 0.036 * (decay - 0.59 + 0.12 * width) ** 2 + (0.0, 0.018, 0.045)[kind]
        floor += 0.006 * _draw(lr, width, decay, kind, 0)
        tau = exp(0.77 - 4.42 * lr + 1.17 * width + 2.5 * decay)
        noise = 0.036 * (_draw(lr, width, decay, kind, epochs) - 0.5) / sqrt(epochs)
        return float(min(0.9, floor + (0.9 - floor) * (1 + epochs / tau) ** -0.91 + noise))

    def seconds(self, config: Configuration, epochs: float) -> float:
        """Of training from the beginning."""
        return float((0.38 + 1.66 * _places(config)[1] ** 1.67) * epochs)


def _places(config: Mapping[str, object]) -> tuple[float, float, float, int]:
    """The numbers as parts of their (logarithmic) intervals, and the number of the activation."""
    lr, width, decay = (float(str(config[name])) for name in ("lr", "width", "decay"))
    return (
        log(lr / 1e-4) / log(1e4),
        log(width / 16) / log(513 / 16),
        log(decay / 1e-6) / log(1e5),
        ("relu", "gelu", "tanh").index(str(config["activation"])),
    )


def _draw(lr: float, width: float, decay: float, kind: int, epochs: float) -> float:
    """A number in [0, 1) that looks random, of the configuration and the epoch."""
    return modf(abs(sin(127.1 * lr + 311.7 * width + 74.7 * decay + 19.3 * kind + 53.9 * epochs)) * 43758.5453)[0]


def incumbents(events: Sequence[Event], curves: Curves) -> list[tuple[float, float]]:
    """When a model better than all before it was there, and its value; every whole epoch gives one, as in training.

    Counting epochs and not reports, it says nothing about where the rungs are.
    """
    configs = {event.trial: event.config for event in events if event.config is not None}
    reached: dict[int, float] = {}
    found = []
    for event in events:
        if event.kind == "report":
            config, before = configs[event.trial], reached.get(event.trial, 0.0)
            end = event.time - curves.seconds(config, event.resource)
            for epoch in range(int(before) + 1, int(event.resource) + 1):
                found.append((end + curves.seconds(config, epoch), curves.value(config, epoch)))
            reached[event.trial] = event.resource
    best, better = float("inf"), []
    for time, value in sorted(found):
        if value < best:
            best = value
            better.append((time, value))
    return better


def time_to(better: Sequence[tuple[float, float]], target: float) -> float:
    """When the first of some incumbents was at or below a target; infinity where none was."""
    return next((time for time, value in better if value <= target), float("inf"))


def area(better: Sequence[tuple[float, float]], until: float, worst: float = 1.0) -> float:
    """The mean of the incumbent's value over the time from 0 to `until`; `worst` before the first one."""
    total, since, best = 0.0, 0.0, worst
    for time, value in better:
        if time <= until:
            total += best * (time - since)
            since, best = time, value
    return (total + best * (until - since)) / until


def entries(events: Sequence[Event], rungs: int) -> list[int]:
    """How many trials have reached each rung."""
    return [sum(event.kind == "report" and event.rung == rung for event in events) for rung in range(rungs)]


def precision(events: Sequence[Event], rungs: int, eta: float) -> list[float]:
    """Of each rung but the last: the share of those who went on that are among the best n / eta in the end."""
    found = []
    for rung in range(rungs - 1):
        values = {event.trial: event.value for event in events if event.kind == "report" and event.rung == rung}
        gone = {event.trial for event in events if event.kind == "start" and event.rung == rung + 1} & set(values)
        best = sorted(values, key=lambda trial: values[trial] or 0.0)[: int(len(values) / eta)]
        found.append(len(gone & set(best)) / max(1, len(gone)))
    return found

"""A study: a search whose events lie in a database, so that any number of workers share it and none can lose it.

"Decide and claim" happens under the study's lock: read what is new, fold it in, ask the search, write down who does it.
"""

import os
import socket
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from d2lcli.errors import CheckpointError, ConfigError, clean
from d2lcli.hpo.events import Event
from d2lcli.hpo.plan import Spec, build_search
from d2lcli.hpo.search import Trial
from d2lcli.hpo.storage import Log, Storage

LOST = "its worker was lost"
DIED = "its worker died"


class Study:
    """A study as one process sees it.

    Args:
        log: the events.
        spec: what is searched.
        folder: of the study; the runs of its trials are below it.

    Attributes:
        events: all that this process has read.
        running: the start of each job that somebody does.
    """

    def __init__(self, log: Log, spec: Spec, folder: Path) -> None:
        self.log, self.spec, self.folder = log, spec, folder
        self.search = build_search(spec)
        self.events: list[Event] = []
        self.running: dict[int, Event] = {}
        self.reasons: dict[int, str] = {}  # of trials that failed
        self._in_a_row = 0
        self._deaths: dict[int, tuple[str, int]] = {}  # how workers died at a trial, and how often alike

    @property
    def trials(self) -> list[Trial]:
        """All so far."""
        return self.search.trials

    def run_folder(self, trial: int) -> Path:
        """Where a trial's run is."""
        return self.folder / "trials" / f"{trial:04d}"

    def catch_up(self) -> list[Event]:
        """Read the events that are new; they are returned, too."""
        found = self.log.read()
        for event in found:
            self._take(event)
        return found

    def claim(self, worker: str) -> Event | None:
        """The start of the job that a free worker is to do; None where there is none now."""
        with self.log.locked():
            self.catch_up()
            self._give_back_lost()
            job = None if self.hopeless else self.search.next()
            if job is None:
                return None
            attempt = self.trials[job.trial].attempt + 1 if job.trial < len(self.trials) else 1
            self._append(
                Event(
                    "start", job.trial, job.rung, job.resource,
                    config=job.config, worker=worker, time=time.time(), attempt=attempt,
                )
            )  # fmt: skip
        return self.running[job.trial]

    def report(self, start: Event, value: float, resource: float) -> bool:
        """The job of `start` is done; `value` is the metric as it is.  False where the job has become another's."""
        last = start.rung + 1 == len(self.search.levels)
        return self._end(start, "report", value=self.spec.sign * value, resource=resource, last=last)

    def fail(self, start: Event, reason: str) -> bool:
        """The trial is given up."""
        return self._end(start, "fail", reason=reason)

    def release(self, start: Event, reason: str) -> bool:
        """Another worker is to go on with the job, from its checkpoint."""
        return self._end(start, "release", reason=reason)

    def give_back(self, worker: str) -> None:
        """A worker leaves: what it has claimed and not ended, as when a signal came while it asked, is another's."""
        self.catch_up()
        for start in [start for start in self.running.values() if start.worker == worker]:
            self.release(start, "stopped")

    @property
    def hopeless(self) -> bool:
        """Whether too many trials in a row have failed."""
        return self._in_a_row >= self.spec.max_failures

    @property
    def done(self) -> bool:
        """Whether nothing is left to do, by what has been read."""
        return not self.running and (self.hopeless or self.search.next() is None)

    def settle(self) -> None:
        """The search is done: what rests will not go on."""
        with self.log.locked():
            self.catch_up()
            if self.done:
                self.log.settle()

    def best(self) -> tuple[Trial, int] | None:
        """The trial with the best value of all, and the rung where it had it."""
        found = [(value, trial.number, rung) for trial in self.trials for rung, value in trial.values.items()]
        if not found:
            return None
        _, number, rung = min(found)
        return self.trials[number], rung

    def _end(self, start: Event, kind: Any, *, last: bool = False, **fields: Any) -> bool:
        with self.log.locked():
            self.catch_up()
            if self.running.get(start.trial) != start:
                return False
            values = {"resource": start.resource} | fields
            event = Event(
                kind, start.trial, start.rung, worker=start.worker, time=time.time(), attempt=start.attempt, **values
            )
            self._append(event, last=last)
        return True

    def died(self, worker: str, how: str) -> None:
        """A process of this machine has died at its job; a trial whose workers die where the last one did is given up.

        Only whoever has started a worker knows that it died alone.  When a whole search is killed, its workers die with
        it, and no trial is to blame.

        Args:
            worker: its name.
            how: in words.
        """
        with self.log.locked():
            self.catch_up()
            for start in [start for start in self.running.values() if start.worker == worker]:
                reason = f"{DIED} {progress(self.run_folder(start.trial))}: it {how}"
                times = self._alike(start.trial, reason)
                given_up = times >= self.spec.max_attempts
                self._end_lost(
                    start, "fail" if given_up else "release", reason + (f", time {times}" if given_up else "")
                )

    def _alike(self, trial: int, reason: str) -> int:
        """How many workers have died at a trial alike, one after the other, with one that dies for this reason now."""
        before, times = self._deaths.get(trial, ("", 0))
        return times + 1 if before == reason else 1

    def _give_back_lost(self) -> None:
        """Release the jobs of workers that are gone."""
        lost = set(self.log.lost()) if self.running else set()
        for start in [start for start in self.running.values() if start.worker in lost]:
            self._end_lost(start, "release", LOST)

    def _end_lost(self, start: Event, kind: Any, reason: str) -> None:
        self._append(
            Event(
                kind, start.trial, start.rung, start.resource,
                worker=start.worker, time=time.time(), attempt=start.attempt, reason=reason,
            )
        )  # fmt: skip

    def _append(self, event: Event, *, last: bool = False) -> None:
        self.log.append(event, last=last)
        self.catch_up()

    def _take(self, event: Event) -> None:
        """Fold in one event."""
        self.search.record(event)
        self.events.append(event)
        if event.kind == "start":
            self.running[event.trial] = event
            return
        self.running.pop(event.trial, None)
        if event.kind == "fail":
            self.reasons[event.trial] = event.reason
            self._in_a_row += 1
        elif event.kind == "report":
            self._in_a_row = 0
        elif event.reason.startswith(DIED):
            self._deaths[event.trial] = (event.reason, self._alike(event.trial, event.reason))


def progress(folder: Path) -> str:
    """How far a run has come, or the runs of its folds, in words: the same words mean that nothing was gained."""
    found = [os.readlink(path) for path in sorted(folder.glob("**/checkpoints/last"))]
    return f"after {', '.join(found)}" if found else "before its first checkpoint"


def worker_name(number: int) -> str:
    """A name that no other worker has: host, time in microseconds, and number."""
    return f"{clean(socket.gethostname(), 40)}-{time.time_ns() // 1000:x}-{number}"


def open_study(storage: Storage, name: str, folder: Path, spec: Spec | None, *, trials: int | None = None) -> Study:
    """Join a study, or begin it where there is none of this name.

    Args:
        storage: the database.
        name: of the study.
        folder: of the study.
        spec: what is wanted; None goes on with what is stored.
        trials: a larger number of trials than before, of a study that is stored.

    Raises:
        CheckpointError: there is no such study to go on with.
        ConfigError: the study is another one.
    """
    if spec is not None:
        stored = storage.join(name, asdict(spec), spec.dimensions, spec.mode)
    else:
        found = storage.spec(name)
        if found is None:
            known = ", ".join(clean(each, 40) for each in storage.names()[:10])
            raise CheckpointError(f"no study '{clean(name, 80)}' in the storage (known: {known or 'none'})")
        stored = found
    before = Spec(**stored)
    log = storage.log(name)
    if spec is not None:
        _compare(name, before, spec)
    elif trials is not None and trials != before.trials:
        if "successive_halving" in (before.search["name"], before.search.get("variant")):
            raise ConfigError(
                f"--trials {trials}: the rounds of study '{clean(name, 80)}' are made for its number of trials, "
                f"{before.trials or 'that of its rungs'}; with another the best would go on by other rules",
                f"begin another study: --study NAME --trials {trials}",
            )
        before = replace(before, trials=trials)
        build_search(before)
        with log.locked():
            log.extend({"trials": trials})
    return Study(log, before, folder)


def _compare(name: str, stored: Spec, wanted: Spec) -> None:
    """Raises: ConfigError: a study of this name searches something else."""
    old, new = asdict(stored), asdict(wanted)
    differing = [key for key in old if key not in ("plugins",) and old[key] != new[key]]
    if differing:
        raise ConfigError(
            [
                f"study '{clean(name, 80)}': {key} was {clean(old[key], 90)}, now {clean(new[key], 90)}"
                for key in differing
            ],
            "choose another --study, or go on with it as it was: d2l hpo --resume --study NAME",
        )

"""What happens in a search, in the order in which it was decided.  All else about a search is computed from this."""

from dataclasses import dataclass
from typing import Literal

from d2lcli.hpo.space import Configuration

Kind = Literal["start", "report", "release", "fail"]


@dataclass(frozen=True)
class Event:
    """One line of a search's log.

    Args:
        kind: start, a worker takes a job; report, it has trained to the rung; release, it gave the job back, or was
            lost, and another one goes on from the checkpoint; fail, the trial is given up.
        trial: its number, from 0 on.
        rung: the rung that the job trains to, from 0 on.
        resource: epochs (or steps, or seconds) of training in all at that rung; of a report, what was used in fact.
        value: of a report, what is minimised: smaller is better.
        config: of the first start of a trial, its values.
        worker: who.
        time: in seconds, of whatever clock drives the search.
        attempt: of a trial's starts, from 1 on; the events that end a job name its start.
        reason: of a release or a failure, in words.
    """

    kind: Kind
    trial: int
    rung: int = 0
    resource: float = 0.0
    value: float | None = None
    config: Configuration | None = None
    worker: str = ""
    time: float = 0.0
    attempt: int = 1
    reason: str = ""


@dataclass(frozen=True)
class Job:
    """What a worker is to do next: train a trial until it has had `resource` in all.

    Args:
        trial: its number.
        rung: the rung to train to.
        resource: epochs (or steps, or seconds) in all.
        config: the values of a new trial; None goes on with one that has begun.
    """

    trial: int
    rung: int
    resource: float
    config: Configuration | None = None

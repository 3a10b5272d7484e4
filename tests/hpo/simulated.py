"""All searches beside the rules for their logs, and small curves, for tests under a simulated clock."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from d2lcli.hpo.asha import asha
from d2lcli.hpo.events import Event
from d2lcli.hpo.hyperband import hyperband
from d2lcli.hpo.random import random
from d2lcli.hpo.search import Search, Suggest, Trial
from d2lcli.hpo.simulation import Outcome, Synth, simulate
from d2lcli.hpo.space import Configuration
from d2lcli.hpo.successive_halving import successive_halving
from d2lcli.hpo.trace import Brackets, Clock, brackets_of, check_trace

R_MAX, ETA, LEVELS = 81, 3, [1, 3, 9, 27, 81]


class Case(NamedTuple):
    """A search of a number of trials, and its node in a config."""

    make: Callable[[Suggest, int], Search]
    node: dict[str, Any]

    def brackets(self, trials: int) -> Brackets:
        return brackets_of(self.node | {"r_min": 1, "eta": ETA}, LEVELS, trials)


CASES = {
    "promotion": Case(lambda suggest, trials: asha(suggest, R_MAX, trials=trials), {"name": "asha"}),
    "stopping": Case(
        lambda suggest, trials: asha(suggest, R_MAX, variant="stopping", trials=trials),
        {"name": "asha", "variant": "stopping"},
    ),
    "rounds": Case(
        lambda suggest, trials: successive_halving(suggest, R_MAX, trials=trials // 4, brackets=4),
        {"name": "successive_halving"},
    ),
    "hyperband": Case(
        lambda suggest, trials: hyperband(suggest, R_MAX, trials=trials),
        {"name": "hyperband", "variant": "successive_halving"},
    ),
    "hyperband_asha": Case(
        lambda suggest, trials: hyperband(suggest, R_MAX, trials=trials, variant="asha"),
        {"name": "hyperband", "variant": "asha"},
    ),
}


class Setting(NamedTuple):
    """How a simulation goes."""

    diverging: float = 0.0
    every: float = 0.0


SETTINGS = {"plain": Setting(), "piles": Setting(diverging=0.05, every=3.0)}


class Line:
    """Each epoch takes one second; the value is the configuration's own at all epochs, or as a table has it."""

    def __init__(self, table: dict[tuple[int, float], float] | None = None) -> None:
        self._table = table or {}

    def value(self, config: Configuration, epochs: float) -> float:
        return self._table.get((config["trial"], epochs), float(config["trial"]))

    def seconds(self, config: Configuration, epochs: float) -> float:
        return epochs


def numbered(trial: int, trials: Sequence[Trial] = ()) -> Configuration:
    """A sampler whose configurations are the trials' numbers."""
    return {"trial": trial}


def jobs(outcome: Outcome) -> list[tuple[int, int]]:
    """Trial and rung of each job, in the order in which they begin."""
    return [(event.trial, event.rung) for event in outcome.events if event.kind == "start"]


def reports(events: Sequence[Event]) -> list[tuple[int, int]]:
    return [(event.trial, event.rung) for event in events if event.kind == "report"]


def run(name: str, setting: str, workers: int, seed: int, trials: int, losses: float = 0.0) -> tuple[Search, Outcome]:
    """Simulate a search of CASES to its end."""
    chosen = SETTINGS[setting]
    curves = Synth(chosen.diverging)
    search = CASES[name].make(random(curves.space, seed), trials)
    return search, simulate(search, curves, workers, every=chosen.every, losses=losses, seed=seed)


def violations(name: str, setting: str, workers: int, trials: int, outcome: Outcome) -> list[str]:
    """What the check of traces has against it."""
    chosen = SETTINGS[setting]
    curves = Synth(chosen.diverging)
    brackets = CASES[name].brackets(trials // 4 if name == "rounds" else trials)
    clock = Clock(workers, curves.value, curves.seconds, slack=chosen.every)
    return check_trace(outcome.events, LEVELS, ETA, brackets, trials=trials, done=True, clock=clock)

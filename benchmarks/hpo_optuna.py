"""Optuna's pruners on a simulated clock, and what they share with our searches there; for benchmarks/hpo.py."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from math import isfinite
from random import Random
from typing import Any

import optuna

from d2lcli.hpo.events import Event
from d2lcli.hpo.search import Suggest, Trial
from d2lcli.hpo.simulation import R_MAX, Outcome
from d2lcli.hpo.space import Choice, Configuration, Float, Int

ETA = 3
FAILED = optuna.trial.TrialState.FAIL
PRUNED = optuna.trial.TrialState.PRUNED


@dataclass(frozen=True)
class World:
    """The curves, and all that is common to the rows."""

    curves: Any
    pool: list[Configuration]
    workers: int
    until: float
    levels: list[int]
    resume: float

    def stream(self, seed: int) -> Suggest:
        """The pool in an order of its own, again and again."""
        order = list(range(len(self.pool)))
        Random(seed).shuffle(order)

        def suggest(trial: int, trials: Sequence[Trial] = ()) -> Configuration | None:
            return self.pool[order[trial % len(order)]]

        return suggest


def pruner(name: str, first: int) -> optuna.pruners.BasePruner:
    """Optuna's."""
    if "hyperband" in name:
        return optuna.pruners.HyperbandPruner(min_resource=first, max_resource=R_MAX, reduction_factor=ETA)
    return optuna.pruners.SuccessiveHalvingPruner(min_resource=first, reduction_factor=ETA)


class OptunaStudy:
    """Optuna's side of a trial's life: what it is asked, and what it is told.

    Args:
        name: of a row; with tpe, Optuna's own sampler chooses.
        world: its curves give the space.
        seed: of the stream, and of the sampler.
    """

    def __init__(self, name: str, world: World, seed: int) -> None:
        samples = name.endswith("tpe")
        sampler = optuna.samplers.TPESampler(seed=seed) if samples else optuna.samplers.RandomSampler(seed=seed)
        self._study = optuna.create_study(study_name=str(seed), pruner=pruner(name, world.levels[0]), sampler=sampler)
        self._space = world.curves.space if samples else None
        self._suggest = world.stream(seed)

    def begin(self) -> tuple[optuna.Trial, Configuration]:
        """A new trial."""
        trial = self._study.ask()
        if self._space is None:
            config = self._suggest(trial.number)
            assert config is not None
            return trial, config
        return trial, {name: _ask(trial, name, dimension) for name, dimension in self._space.items()}

    def report(self, trial: optuna.Trial, value: float, level: int) -> bool:
        """Whether the trial goes on."""
        if not isfinite(value):
            self._study.tell(trial, state=FAILED)
            return False
        trial.report(value, level)
        if level == R_MAX:
            self._study.tell(trial, value)
            return False
        if trial.should_prune():
            self._study.tell(trial, state=PRUNED)
            return False
        return True


def _ask(trial: optuna.Trial, name: str, dimension: Float | Int | Choice) -> Any:
    if isinstance(dimension, Choice):
        return trial.suggest_categorical(name, dimension.values)
    if isinstance(dimension, Int):
        return trial.suggest_int(name, dimension.low, dimension.high, log=dimension.log)
    return trial.suggest_float(name, dimension.low, dimension.high, log=dimension.log)


def simulate_optuna(name: str, world: World, seed: int) -> Outcome:
    """The same clock as `simulate`; a trial that is not pruned stays with its worker."""
    study, curves, levels, outcome = OptunaStudy(name, world, seed), world.curves, world.levels, Outcome()
    ends: list[tuple[float, int, str, optuna.Trial, Configuration, int]] = []

    def train(time: float, worker: str, trial: optuna.Trial, config: Configuration, rung: int) -> None:
        before, first = (curves.seconds(config, levels[rung - 1]), None) if rung else (0.0, config)
        start = Event("start", trial.number, rung, levels[rung], config=first, worker=worker, time=time)
        outcome.events.append(start)
        takes = curves.seconds(config, levels[rung]) - before
        heappush(ends, (time + takes, len(outcome.events), worker, trial, config, rung))

    for number in range(world.workers):
        train(0.0, str(number), *study.begin(), 0)
    while ends and ends[0][0] <= world.until * R_MAX:
        now, _, worker, trial, config, rung = heappop(ends)
        value = curves.value(config, levels[rung])
        report = Event("report", trial.number, rung, levels[rung], value=value, worker=worker, time=now)
        outcome.events.append(report)
        if study.report(trial, value, levels[rung]):
            train(now, worker, trial, config, rung + 1)
        else:
            train(now, worker, *study.begin(), 0)
    return outcome


def optuna_steps(name: str, world: World) -> Iterator[int]:
    """Do job after job in no time; how many trials have begun."""
    study = OptunaStudy(name, world, 0)
    while True:
        trial, config = study.begin()
        for level in world.levels:
            on = study.report(trial, world.curves.value(config, level), level)
            yield trial.number + 1
            if not on:
                break

"""Searches on simulated learning curves, beside Optuna's pruners on the same stream of configurations.

    python benchmarks/hpo.py [--workers 4] [--seeds 40] [--first-seed 0] [--rows NAME ...] [--quick] [--table FILE.npz] [--json FILE]

The curves are `Synth` (d2lcli/hpo/simulation.py), or with --table real ones (benchmarks/hpo_digits.py).  Workers train on
a simulated clock; nothing waits for the searches' own computing, which is measured apart.  A seed is one stream of
configurations: trial n of every row has the same one, but for rows that say tpe, whose sampler chooses itself and draws
its first trials from the space.  Optuna's pruners are driven through `ask`, `report`, `should_prune` and `tell` in memory
and are asked at the rungs; resource, factor and length are the same for all: r = 1, R = 81, eta = 3.

Times are in units of one whole training of average cost.  t1 and t.3: until a model within 1 point and .3 points of the
best of all 4,096 (or all of the table) after R epochs was there, every epoch counted, not only those at rungs; the median,
and how many seeds got there.  area: the mean of the incumbent's error over the time.  idle: of the workers' time.  us: of
computing for one job (asked for, begun, reported) when 3,000 trials have begun.  ratio: trials at rung 1 over those at 0.

Below, pairs over the seeds: how often the first was earlier (or lower), how often the second, and the two-sided p value of
a sign test.  One in 20 tests of equals has p < .05, so look for p < .01.
"""

# ruff: noqa: E501

import argparse
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from heapq import heappop, heappush
from math import comb, isfinite
from pathlib import Path
from random import Random
from statistics import mean, median
from typing import Any

import numpy as np
import optuna

from d2lcli.hpo.asha import Promotion, asha
from d2lcli.hpo.events import Event
from d2lcli.hpo.hyperband import hyperband
from d2lcli.hpo.random import random
from d2lcli.hpo.search import Search, Suggest, Trial
from d2lcli.hpo.simulation import R_MAX, Curves, Outcome, Synth, area, entries, incumbents, simulate, time_to
from d2lcli.hpo.space import Choice, Configuration, Float, Int, Space
from d2lcli.hpo.successive_halving import successive_halving
from d2lcli.hpo.tpe import tpe

ETA, LEVELS = 3, [1, 3, 9, 27, 81]
POOL = 4096  # configurations that the streams draw from
HORIZON = {1: 40.0, 4: 12.0, 25: 4.0}  # whole trainings long
FAILED = optuna.trial.TrialState.FAIL
PRUNED = optuna.trial.TrialState.PRUNED


class Table:
    """Real curves: a configuration has those of the network nearest to it in the space.

    Args:
        path: made by benchmarks/hpo_digits.py.
    """

    space: Space = {  # noqa: RUF012 -- nobody changes it
        "lr": Float(1e-3, 1, log=True),
        "momentum": Float(0, 0.95),
        "width": Int(4, 64, log=True),
        "decay": Float(1e-6, 1e-1, log=True),
        "batch_size": Choice((20, 50)),
    }

    def __init__(self, path: Path) -> None:
        data = np.load(path)
        self._errors, self._costs = data["errors"], data["costs"]
        names = [str(name) for name in data["names"]]
        self.pool = [
            {name: int(value) if name in ("width", "batch_size") else float(value) for name, value in zip(names, row)}
            for row in data["configs"]
        ]
        self._places = np.array([self._place(config) for config in self.pool])
        self._nearest: dict[tuple[Any, ...], int] = {}

    def value(self, config: Configuration, epochs: float) -> float:
        return float(self._errors[self._row(config), int(epochs) - 1])

    def seconds(self, config: Configuration, epochs: float) -> float:
        return float(self._costs[self._row(config)]) * epochs

    def _row(self, config: Configuration) -> int:
        key = tuple(config.values())
        if key not in self._nearest:
            distances = ((self._places - np.array(self._place(config))) ** 2).sum(1)
            self._nearest[key] = int(distances.argmin())
        return self._nearest[key]

    def _place(self, config: Configuration) -> list[float]:
        """In the unit cube; another batch size is farther than anything else."""
        lr, width, decay = (np.log(config[name] / low) / np.log(ratio) for name, low, ratio in SCALES)
        return [float(lr), config["momentum"] / 0.95, float(width), float(decay), 3.0 * (config["batch_size"] == 50)]


SCALES = (("lr", 1e-3, 1e3), ("width", 4, 16), ("decay", 1e-6, 1e5))


@dataclass
class Row:
    """What a search has done, seed by seed."""

    t1: list[float]
    t3: list[float]
    area: list[float]
    last: list[float]
    idle: list[float]
    redone: list[float]
    ratio: list[float]


@dataclass(frozen=True)
class World:
    """The curves, and all that is common to the rows."""

    curves: Any
    pool: list[Configuration]
    workers: int
    until: float

    @property
    def best(self) -> float:
        return min(self.curves.value(config, R_MAX) for config in self.pool)

    def stream(self, seed: int) -> Suggest:
        """The pool in an order of its own, again and again."""
        order = list(range(len(self.pool)))
        Random(seed).shuffle(order)

        def suggest(trial: int, trials: Sequence[Trial] = ()) -> Configuration | None:
            return self.pool[order[trial % len(order)]]

        return suggest


def searches(world: World) -> dict[str, Callable[[int], Search]]:
    """Ours, from a seed."""
    stream, space = world.stream, world.curves.space

    def whole(seed: int) -> Search:
        return Search(stream(seed), [R_MAX], lambda trial: 0, lambda number: Promotion(1, ETA))

    return {
        "random": whole,
        "successive_halving": lambda seed: successive_halving(stream(seed), R_MAX, brackets=1000),
        "hyperband": lambda seed: hyperband(stream(seed), R_MAX, trials=10**6),
        "hyperband asha": lambda seed: hyperband(stream(seed), R_MAX, variant="asha", trials=10**6),
        "asha": lambda seed: asha(stream(seed), R_MAX),
        "asha stopping": lambda seed: asha(stream(seed), R_MAX, variant="stopping"),
        "asha tpe": lambda seed: asha(tpe(space, seed=seed), R_MAX),
        "asha stopping tpe": lambda seed: asha(tpe(space, seed=seed), R_MAX, variant="stopping"),
        "hyperband asha tpe": lambda seed: hyperband(tpe(space, seed=seed), R_MAX, variant="asha", trials=10**6),
    }


OPTUNA: dict[str, Callable[[], optuna.pruners.BasePruner]] = {
    "Optuna halving": lambda: optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=ETA),
    "Optuna hyperband": lambda: optuna.pruners.HyperbandPruner(
        min_resource=1, max_resource=R_MAX, reduction_factor=ETA
    ),
}
OPTUNA |= {f"{name} tpe": make for name, make in OPTUNA.items()}
PLAIN = [
    "random", "successive_halving", "hyperband", "hyperband asha", "asha", "asha stopping",
    "Optuna halving", "Optuna hyperband",
]  # fmt: skip
PEERS = ("random", "Optuna halving", "Optuna hyperband", "Optuna halving tpe", "Optuna hyperband tpe", "asha")


class OptunaStudy:
    """Optuna's side of a trial's life: what it is asked, and what it is told.

    Args:
        name: of OPTUNA; with tpe, Optuna's own sampler chooses.
        world: its curves give the space.
        seed: of the stream, and of the sampler.
    """

    def __init__(self, name: str, world: World, seed: int) -> None:
        samples = name.endswith("tpe")
        sampler = optuna.samplers.TPESampler(seed=seed) if samples else optuna.samplers.RandomSampler(seed=seed)
        self._study = optuna.create_study(pruner=OPTUNA[name](), sampler=sampler)
        self._space = world.curves.space if samples else None
        self._suggest = world.stream(seed)
        self._curves: Curves = world.curves

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
    study, curves, outcome = OptunaStudy(name, world, seed), world.curves, Outcome()
    ends: list[tuple[float, int, int, optuna.Trial, Configuration, int]] = []
    count = 0

    def train(time: float, worker: int, trial: optuna.Trial, config: Configuration, rung: int) -> None:
        nonlocal count
        count += 1
        before = curves.seconds(config, LEVELS[rung - 1]) if rung else 0.0
        takes = curves.seconds(config, LEVELS[rung]) - before
        first = config if not rung else None
        outcome.events.append(
            Event("start", trial.number, rung, LEVELS[rung], config=first, worker=str(worker), time=time)
        )
        heappush(ends, (time + takes, count, worker, trial, config, rung))

    for worker in range(world.workers):
        train(0.0, worker, *study.begin(), 0)
    while ends and ends[0][0] <= world.until * R_MAX:
        now, _, worker, trial, config, rung = heappop(ends)
        value = curves.value(config, LEVELS[rung])
        outcome.events.append(
            Event("report", trial.number, rung, LEVELS[rung], value=value, worker=str(worker), time=now)
        )
        if study.report(trial, value, LEVELS[rung]):
            train(now, worker, trial, config, rung + 1)
        else:
            train(now, worker, *study.begin(), 0)
    return outcome


def run(name: str, world: World, seeds: Sequence[int]) -> Row:
    """All seeds of a row."""
    row, best, until = Row([], [], [], [], [], [], []), world.best, world.until * R_MAX
    for seed in seeds:
        if name in OPTUNA:
            outcome = simulate_optuna(name, world, seed)
        else:
            outcome = simulate(searches(world)[name](seed), world.curves, world.workers, until=until)
        better = incumbents(outcome.events, world.curves)
        row.t1.append(time_to(better, best + 0.01) / R_MAX)
        row.t3.append(time_to(better, best + 0.003) / R_MAX)
        row.area.append(area(better, until))
        row.last.append(better[-1][1] if better else 1.0)
        row.idle.append(outcome.idle / (world.workers * until))
        row.redone.append(outcome.redone)
        first, second = entries(outcome.events, 2)
        row.ratio.append(second / first if first else 0.0)
    return row


def job_cost(name: str, world: World, trials: int, jobs: int = 300) -> float:
    """Microseconds of computing for one job by one worker after so many trials, and the sampler's among them."""
    steps = _optuna_steps(name, world) if name in OPTUNA else _steps(searches(world)[name](0), world.curves)
    for begun in steps:
        if begun >= trials:
            break
    start = time.process_time()
    for _ in range(jobs):
        next(steps)
    return 1e6 * (time.process_time() - start) / jobs


def _steps(search: Search, curves: Curves) -> Iterator[int]:
    """Do job after job in no time; how many trials have begun."""
    configs: dict[int, Configuration] = {}
    while job := search.next():
        if job.config is not None:
            configs[job.trial] = job.config
        attempt = search.trials[job.trial].attempt + 1 if job.config is None else 1
        search.record(Event("start", job.trial, job.rung, job.resource, config=job.config, attempt=attempt))
        value = curves.value(configs[job.trial], job.resource)
        search.record(Event("report", job.trial, job.rung, job.resource, value=value, attempt=attempt))
        yield len(search.trials)


def _optuna_steps(name: str, world: World) -> Iterator[int]:
    study = OptunaStudy(name, world, 0)
    while True:
        trial, config = study.begin()
        for level in LEVELS:
            on = study.report(trial, world.curves.value(config, level), level)
            yield trial.number + 1
            if not on:
                break


def sign_test(first: Sequence[float], second: Sequence[float]) -> tuple[int, int, float]:
    """How often the first is smaller, how often the second, and p = P(so unequal or more | no difference)."""
    wins, losses = (sum(map(compare, first, second)) for compare in (float.__lt__, float.__gt__))
    total = wins + losses
    tail = sum(comb(total, count) for count in range(min(wins, losses) + 1)) / 2**total
    return wins, losses, min(1.0, 2 * tail)


def show(rows: dict[str, Row], costs: dict[str, float]) -> None:
    """The table."""
    print(f"{'':<22}{'t1':>12}{'t.3':>12}{'area':>8}{'last':>8}{'idle':>7}{'redone':>8}{'ratio':>7}{'us':>8}")
    for name, row in rows.items():
        times = "".join(f"{median(t):>6.2f} {mean(map(isfinite, t)):>4.0%} " for t in (row.t1, row.t3))
        means = f"{mean(row.area):>8.4f}{mean(row.last):>8.4f}{mean(row.idle):>7.1%}{mean(row.redone):>8.1f}"
        print(f"{name:<22}{times:>24}{means}{mean(row.ratio):>7.3f}{costs[name]:>8.0f}" if name in costs else
              f"{name:<22}{times:>24}{means}{mean(row.ratio):>7.3f}{'':>8}")  # fmt: skip


def compare(rows: dict[str, Row]) -> list[dict[str, Any]]:
    """Each of ours with each peer that was run."""
    found = []
    for peer in [name for name in PEERS if name in rows]:
        for name in [name for name in rows if name not in OPTUNA and name not in ("random", peer)]:
            if peer != "asha" or "asha" in name:
                tests = {
                    what: sign_test(getattr(rows[name], what), getattr(rows[peer], what))
                    for what in ("t1", "t3", "area", "last")
                }
                found.append({"first": name, "second": peer, **tests})
    return found


def main() -> None:
    """Run all rows, print tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--trainings", type=float, help="how long, in whole trainings")
    parser.add_argument("--seeds", type=int, default=40)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--rows", nargs="+", default=PLAIN, metavar="NAME")
    parser.add_argument("--table", type=Path, help="real curves")
    parser.add_argument("--quick", action="store_true", help="4 seeds, and costs at 300 trials")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    seeds = range(given.first_seed, given.first_seed + (4 if given.quick else given.seeds))
    world = make_world(given.table, given.workers, given.trainings)
    trials = 300 if given.quick else 3000
    print(
        f"{world.workers} workers, {len(seeds)} seeds from {seeds[0]} on, {world.until:g} trainings long, best {world.best:.4f}"
    )
    rows = {name: run(name, world, seeds) for name in given.rows}
    costs = {name: job_cost(name, world, trials) for name in given.rows if name != "Optuna hyperband tpe"}
    show(rows, costs)
    pairs = compare(rows)
    print(f"\n{'first : second, p':<44}" + "".join(f"{what:>18}" for what in ("t1", "t.3", "area", "last")))
    for pair in pairs:
        cells = [f"{won}:{lost} p={p:.2g}" for won, lost, p in (pair[what] for what in ("t1", "t3", "area", "last"))]
        print(f"{pair['first'] + ' : ' + pair['second']:<44}" + "".join(f"{cell:>18}" for cell in cells))
    if given.json:
        content = {"workers": world.workers, "seeds": list(seeds), "trainings": world.until, "best": world.best}
        content |= {"rows": {name: vars(row) for name, row in rows.items()}, "microseconds": costs, "pairs": pairs}
        given.json.write_text(json.dumps(content, indent=1))


@cache
def make_world(table: Path | None, workers: int, trainings: float | None) -> World:
    """The curves by name."""
    until = trainings or HORIZON.get(workers, 12.0)
    if table is not None:
        curves = Table(table)
        return World(curves, curves.pool, workers, until)
    draw = random(Synth.space, POOL)
    pool = [config for number in range(POOL) if (config := draw(number))]
    return World(Synth(), pool, workers, until)


if __name__ == "__main__":
    main()

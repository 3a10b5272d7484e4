"""Searches on simulated learning curves, beside Optuna's pruners on the same stream of configurations.

    python benchmarks/hpo.py [--workers 4] [--seeds 40] [--first-seed 0] [--rows NAME ...] [--quick] [--json FILE]
                             [--curves synth] [--first-rung 1] [--resume 0] [--trainings 12]

The curves are those of `Synth` (d2lcli/hpo/simulation.py), or with --curves digits real ones (digits_curves.py).
Workers train on a simulated clock, which no computing of a search holds up; that is measured apart.  A seed is one
stream of configurations: trial n of every row has the same one, but for rows with a sampler (tpe, bayesian), which
chooses itself.  Optuna's pruners are driven by `ask`, `report`, `should_prune` and `tell` in memory, and asked at the
rungs, which are the same for all: R = 81, eta = 3.  `asha stopping` and `Optuna halving` follow one rule: their rows
differ at most where several trials have the same value.

Times are in whole trainings of average cost.  t1 and t.3: until there was a model within 1 point and .3 points of the
best (of all after R epochs; of real curves, that any row has found); the median, and how many seeds came so far.  Every
epoch counts, not only those at rungs, which would reward whoever has a rung at the right place.  area: the mean over
the time of the lowest error so far; last: at the end.  idle: of the workers' time.  ratio: trials at the second rung
over those at the first.  us: of computing for one job (asked for, begun, reported), at 3,000 trials.

Below, pairs over the seeds: how often the first was earlier or lower, how often the second, and the p value of a
two-sided sign test.  Of 20 tests of equals one has p < .05, so look for p < .01.  A table with 40 seeds takes up to 4
minutes; rows with Optuna's own sampler (Optuna halving tpe, Optuna hyperband tpe) and with bayesian take much longer.
"""

import argparse
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from math import comb, isfinite
from pathlib import Path
from statistics import mean, median
from typing import Any

import optuna
import torch
from digits_curves import Digits
from hpo_optuna import ETA, World, optuna_steps, simulate_optuna

from d2lcli.hpo.asha import Promotion, asha
from d2lcli.hpo.bayesian import bayesian
from d2lcli.hpo.events import Event
from d2lcli.hpo.hyperband import hyperband
from d2lcli.hpo.random import random
from d2lcli.hpo.search import Search, Suggest
from d2lcli.hpo.simulation import R_MAX, Curves, Synth, area, entries, incumbents, simulate, time_to
from d2lcli.hpo.space import Configuration
from d2lcli.hpo.successive_halving import successive_halving
from d2lcli.hpo.tpe import tpe

PLAIN = [
    "random", "successive_halving", "hyperband", "hyperband asha", "asha", "asha stopping",
    "Optuna halving", "Optuna hyperband",
]  # fmt: skip
PEERS = ("random", "Optuna halving", "Optuna hyperband", "Optuna halving tpe", "Optuna hyperband tpe", "asha")
SLOW = ("Optuna halving tpe", "Optuna hyperband tpe", "asha bayesian")  # are not timed at 3,000 trials
POOL = 4096  # configurations that the streams draw from
HORIZON = {1: 40.0, 4: 12.0, 25: 4.0}  # whole trainings long


@dataclass
class Row:
    """What a search has done, seed by seed.

    Attributes:
        better: the incumbents.
        t1, t3, area, last, idle, redone, ratio: see above.
    """

    better: list[list[tuple[float, float]]] = field(default_factory=list)
    t1: list[float] = field(default_factory=list)
    t3: list[float] = field(default_factory=list)
    area: list[float] = field(default_factory=list)
    last: list[float] = field(default_factory=list)
    idle: list[float] = field(default_factory=list)
    redone: list[float] = field(default_factory=list)
    ratio: list[float] = field(default_factory=list)


def searches(world: World) -> dict[str, Callable[[int], Search]]:
    """Ours, from a seed."""
    stream, space, first = world.stream, world.curves.space, world.levels[0]

    def whole(seed: int) -> Search:
        return Search(stream(seed), [R_MAX], lambda trial: 0, lambda number: Promotion(1, ETA))

    def bands(variant: Any, suggest: Suggest) -> Search:
        return hyperband(suggest, R_MAX, first, ETA, variant, trials=10**6)

    return {
        "random": whole,
        "successive_halving": lambda seed: successive_halving(stream(seed), R_MAX, first, ETA, brackets=1000),
        "hyperband": lambda seed: bands("successive_halving", stream(seed)),
        "hyperband asha": lambda seed: bands("asha", stream(seed)),
        "asha": lambda seed: asha(stream(seed), R_MAX, first, ETA),
        "asha stopping": lambda seed: asha(stream(seed), R_MAX, first, ETA, "stopping"),
        "asha tpe": lambda seed: asha(tpe(space, seed=seed), R_MAX, first, ETA),
        "hyperband asha tpe": lambda seed: bands("asha", tpe(space, seed=seed)),
        "asha bayesian": lambda seed: asha(bayesian(space, seed=seed), R_MAX, first, ETA),
    }


def run(name: str, world: World, seeds: Sequence[int]) -> Row:
    """All seeds of a row."""
    row, until = Row(), world.until * R_MAX
    for seed in seeds:
        if name.startswith("Optuna"):
            outcome = simulate_optuna(name, world, seed)
        else:
            found = searches(world)[name](seed)
            outcome = simulate(found, world.curves, world.workers, until=until, resume=world.resume)
        better = incumbents(outcome.events, world.curves)
        first, second = entries(outcome.events, 2)
        row.better.append(better)
        row.area.append(area(better, until))
        row.last.append(better[-1][1] if better else 1.0)
        row.idle.append(outcome.idle / (world.workers * until))
        row.redone.append(outcome.redone)
        row.ratio.append(second / first if first else 0.0)
    return row


def run_all(names: Sequence[str], world: World, seeds: Sequence[int]) -> tuple[dict[str, Row], float]:
    """All rows, and the best value."""
    rows = {name: run(name, world, seeds) for name in names}
    if isinstance(world.curves, Synth):
        best = min(world.curves.value(config, R_MAX) for config in world.pool)
    else:
        best = min(value for row in rows.values() for value in row.last)
    for row in rows.values():
        row.t1 = [time_to(better, best + 0.01) / R_MAX for better in row.better]
        row.t3 = [time_to(better, best + 0.003) / R_MAX for better in row.better]
    return rows, best


def job_cost(name: str, world: World, trials: int, jobs: int = 300) -> float:
    """Microseconds of computing for one job by one worker after so many trials, and the sampler's among them."""
    steps = optuna_steps(name, world) if name.startswith("Optuna") else _steps(searches(world)[name](0), world.curves)
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


def sign_test(first: Sequence[float], second: Sequence[float]) -> tuple[int, int, float]:
    """How often the first is smaller, how often the second, and p = P(so unequal or more | no difference)."""
    wins, losses = (sum(map(compare, first, second)) for compare in (float.__lt__, float.__gt__))
    total = wins + losses
    tail = sum(comb(total, count) for count in range(min(wins, losses) + 1)) / 2**total
    return wins, losses, min(1.0, 2 * tail)


def show(rows: dict[str, Row], costs: dict[str, float]) -> None:
    """The table of rows."""
    print(f"{'':<22}{'t1':>12}{'t.3':>12}{'area':>8}{'last':>8}{'idle':>7}{'redone':>8}{'ratio':>7}{'us':>8}")
    for name, row in rows.items():
        times = "".join(f"{median(each):>6.2f} {mean(map(isfinite, each)):>4.0%} " for each in (row.t1, row.t3))
        means = f"{mean(row.area):>8.4f}{mean(row.last):>8.4f}{mean(row.idle):>7.1%}{mean(row.redone):>8.1f}"
        cost = f"{costs[name]:>8.0f}" if name in costs else ""
        print(f"{name:<22}{times:>24}{means}{mean(row.ratio):>7.3f}{cost}")


def show_pairs(pairs: Sequence[dict[str, Any]]) -> None:
    """The table of pairs."""
    print(f"\n{'first : second, p':<44}" + "".join(f"{what:>18}" for what in ("t1", "t.3", "area", "last")))
    for pair in pairs:
        cells = [
            f"{wins}:{losses} p={p:.2g}" for wins, losses, p in (pair[what] for what in ("t1", "t3", "area", "last"))
        ]
        print(f"{pair['first'] + ' : ' + pair['second']:<44}" + "".join(f"{cell:>18}" for cell in cells))


def compare(rows: dict[str, Row]) -> list[dict[str, Any]]:
    """Each of ours with each peer that was run."""
    found = []
    for peer in [name for name in PEERS if name in rows]:
        for name in [name for name in rows if not name.startswith("Optuna") and name not in ("random", peer)]:
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
    parser.add_argument("--curves", choices=("synth", "digits"), default="synth")
    parser.add_argument("--first-rung", type=int, default=1, help="in epochs, a power of 3")
    parser.add_argument("--resume", type=float, default=0.0, help="what it costs to go on with a trial, in mean epochs")
    parser.add_argument("--quick", action="store_true", help="4 seeds, and computing at 300 trials")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    torch.set_num_threads(1)
    world = make_world(given)
    seeds = range(given.first_seed, given.first_seed + (4 if given.quick else given.seeds))
    rows, best = run_all(given.rows, world, seeds)
    print(f"{given.curves}, {world.workers} workers, {world.until:g} trainings long, rungs {world.levels}")
    print(f"seeds {seeds[0]} to {seeds[-1]}, best {best:.4f}")
    timed = [name for name in given.rows if name not in SLOW and given.curves == "synth"]
    costs = {name: job_cost(name, world, 300 if given.quick else 3000) for name in timed}
    show(rows, costs)
    pairs = compare(rows)
    show_pairs(pairs)
    if given.json:
        content = {"workers": world.workers, "seeds": list(seeds), "trainings": world.until, "rungs": world.levels}
        content |= {"rows": {name: vars(row) for name, row in rows.items()}, "microseconds": costs, "pairs": pairs}
        given.json.write_text(json.dumps(content, indent=1))


def make_world(given: argparse.Namespace) -> World:
    """The curves, and a pool of configurations."""
    levels = [level for level in (1, 3, 9, 27, 81) if level >= given.first_rung]
    until = given.trainings or HORIZON.get(given.workers, 12.0)
    curves: Any = Synth() if given.curves == "synth" else Digits()
    draw = random(curves.space, POOL)
    pool = [config for number in range(POOL) if (config := draw(number))]
    return World(curves, pool, given.workers, until, levels, given.resume)


if __name__ == "__main__":
    main()

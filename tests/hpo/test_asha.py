"""Asynchronous successive halving: its order of jobs, by hand, by the paper and beside Optuna."""

import optuna
import pytest
from simulated import ETA, LEVELS, R_MAX, Line, jobs, numbered, reports

from d2lcli.hpo.asha import asha
from d2lcli.hpo.events import Event
from d2lcli.hpo.random import random
from d2lcli.hpo.search import Search
from d2lcli.hpo.simulation import Outcome, Synth, simulate


def test_the_order_of_jobs_is_that_of_a_calculation_by_hand() -> None:
    """One worker, rungs 1, 2, 4.  Trial 6 rests first; when eight are known it is among the best four, and goes on."""
    values = {
        (0, 1): 0.5, (1, 1): 0.4, (2, 1): 0.6, (3, 1): 0.3, (4, 1): 0.45, (5, 1): 0.1, (6, 1): 0.42, (7, 1): 0.9,
        (1, 2): 0.35, (3, 2): 0.25, (5, 2): 0.5, (6, 2): 0.2,
        (3, 4): 0.2, (6, 4): 0.1,
    }  # fmt: skip
    outcome = simulate(asha(numbered, 4, eta=2, trials=8), Line(values), 1)
    assert jobs(outcome) == [
        (0, 0), (1, 0), (1, 1), (2, 0), (3, 0), (3, 1), (3, 2), (4, 0), (5, 0), (5, 1), (6, 0), (7, 0), (6, 1), (6, 2),
    ]  # fmt: skip


def first_whole(outcome: Outcome) -> float:
    return next(event.time for event in outcome.events if event.kind == "report" and event.rung == 2)


@pytest.mark.parametrize(
    ("workers", "checkpoints", "expected"), [(9, True, 9), (9, False, 13), (1, True, 21), (1, False, 27)]
)
def test_the_first_model_is_done_as_early_as_the_paper_says(workers: int, checkpoints: bool, expected: float) -> None:
    """Nine workers, r = 1, R = 9, eta = 3: in the time of one training, 13/9 of it without checkpoints."""
    outcome = simulate(asha(numbered, 9), Line(), workers, until=30, checkpoints=checkpoints)
    assert first_whole(outcome) == expected
    assert outcome.idle == 0
    assert (outcome.redone == 0) == checkpoints


def test_nine_workers_begin_nine_trials_and_the_best_three_go_on() -> None:
    outcome = simulate(asha(numbered, 9), Line(), 9, until=3)
    order = jobs(outcome)
    assert order[:9] == [(trial, 0) for trial in range(9)]
    assert order[9:12] == [(0, 1), (1, 1), (2, 1)]
    assert order[12:18] == [(trial, 0) for trial in range(9, 15)]  # those left over begin new ones


def optuna_rungs(seed: int, trials: int) -> list[int]:
    """The last rung of each trial under Optuna's own pruner."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    pruner = optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=ETA)
    study = optuna.create_study(pruner=pruner)
    curves, found = Synth(), []
    suggest = random(curves.space, seed)
    for number in range(trials):
        trial, config = study.ask(), suggest(number)
        assert config is not None
        for rung, level in enumerate(LEVELS):
            value = curves.value(config, level)
            trial.report(value, level)
            last = rung
            if level < R_MAX and trial.should_prune():
                study.tell(trial, state=optuna.trial.TrialState.PRUNED)
                break
        else:
            study.tell(trial, value)
        found.append(last)
    return found


@pytest.mark.parametrize("seed", range(3))
def test_the_stopping_variant_decides_as_optuna_s_pruner_does(seed: int) -> None:
    curves = Synth()
    search = asha(random(curves.space, seed), R_MAX, variant="stopping", trials=150)
    outcome = simulate(search, curves, 1)
    found = [max(trial.values) for trial in search.trials]
    assert found == optuna_rungs(seed, 150)
    assert found.count(0) > 80 and max(found) == 4
    order = [trial for trial, _ in jobs(outcome)]
    assert order == sorted(order)  # one worker takes nothing up again


def test_a_trial_that_fails_higher_up_counts_where_it_has_been() -> None:
    search = asha(numbered, 9, trials=6)
    for trial in range(3):
        search.record(Event("start", trial, 0, 1, config={"trial": trial}))
        search.record(Event("report", trial, 0, 1, value=trial))
    search.record(Event("start", 0, 1, 3, attempt=2))
    search.record(Event("fail", 0, 1, 3, attempt=2))
    for trial in (3, 4):
        assert search.next() == numbered_job(search, trial)
        search.record(Event("start", trial, 0, 1, config={"trial": trial}))
        search.record(Event("report", trial, 0, 1, value=trial))
    search.record(Event("start", 5, 0, 1, config={"trial": 5}))
    search.record(Event("report", 5, 0, 1, value=5.0))
    job = search.next()
    assert job is not None and (job.trial, job.rung) == (1, 1)  # two of six go on, and trial 0 was one of them


def numbered_job(search: Search, trial: int) -> object:
    job = search.next()
    assert job is not None and (job.trial, job.rung) == (trial, 0)
    return job


def test_the_share_that_goes_on_is_one_in_eta() -> None:
    """The reference of another simulation: .333 to .36 of the first rung at eta 3."""
    outcome = simulate(asha(random(Synth.space, 5), R_MAX), Synth(), 4, until=10 * R_MAX)
    found = reports(outcome.events)
    share = sum(rung == 1 for _, rung in found) / sum(rung == 0 for _, rung in found)
    assert 0.333 <= share <= 0.36
    assert outcome.idle == outcome.redone == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"r_max": 0}, "r_max=0"),
        ({"r_max": 9, "r_min": 10}, "not after their end"),
        ({"r_max": 9, "eta": 1}, "eta=1 must be above 1"),
        ({"r_max": 9, "trials": 0}, "trials=0 must be at least 1"),
    ],
)
def test_bad_options_are_refused(options: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        asha(numbered, **options)  # type: ignore[arg-type]

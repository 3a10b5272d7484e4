"""The check of a search's log: it has nothing against right searches, and finds what is wrong with wrong ones."""

import time
from collections.abc import Callable
from dataclasses import replace

import pytest
from simulated import CASES, ETA, LEVELS, R_MAX, SETTINGS, Line, numbered, reports, run, violations
from wrong_searches import (
    Plain,
    RoundsUp,
    StopsTheFirst,
    TooEarly,
    TooLate,
    TooMany,
    WorstOfAll,
    search_of,
    search_of_wrong,
)  # fmt: skip

from d2lcli.hpo.asha import Stopping, asha
from d2lcli.hpo.events import Event
from d2lcli.hpo.random import random
from d2lcli.hpo.search import Search
from d2lcli.hpo.simulation import Outcome, Synth, simulate
from d2lcli.hpo.successive_halving import Rounds, successive_halving
from d2lcli.hpo.trace import Brackets, Clock, brackets_of, check_trace

TRIALS = 120


def check(name: str, setting: str, seed: int) -> list[str]:
    """Run a wrong search for some time; what is said of it."""
    chosen = SETTINGS[setting]
    curves = Synth(chosen.diverging)
    outcome = simulate(
        search_of_wrong(name, random(curves.space, seed)), curves, 4,
        until=4 * R_MAX, every=chosen.every, checkpoints=name != "from_scratch",
    )  # fmt: skip
    clock = Clock(4, curves.value, curves.seconds, slack=chosen.every)
    return check_trace(outcome.events, LEVELS, ETA, clock=clock)


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("sign", "C2"), ("rounds_up", "C2"), ("from_below", "C3"), ("those_who_rest", "C2"), ("twice", "C1"),
        ("one_rung", "C5"), ("barrier", "C5"), ("last_ones", "C2"), ("best_of_any_rung", "C5"),
        ("failures_first", "C10"), ("idles", "C7"), ("linear", "C9"), ("from_scratch", "C4"),
    ],
)  # fmt: skip
def test_every_wrong_search_is_found(name: str, rule: str) -> None:
    found = [line for setting in SETTINGS for seed in range(3) for line in check(name, setting, seed)]
    assert any(f": {rule}: " in line for line in found), found[:3]


@pytest.mark.parametrize("setting", SETTINGS)
def test_the_plain_search_and_ours_decide_alike(setting: str) -> None:
    chosen = SETTINGS[setting]
    curves = Synth(chosen.diverging)
    for seed in range(3):
        found = [
            simulate(search, curves, 4, until=6 * R_MAX, every=chosen.every).events
            for search in (search_of(Plain, random(curves.space, seed)), asha(random(curves.space, seed), R_MAX))
        ]
        assert found[0] == found[1]


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("name", CASES)
def test_nothing_is_found_in_right_searches(name: str, setting: str, seed: int) -> None:
    for workers in (1, 4, 25):
        _, outcome = run(name, setting, workers, seed, TRIALS)
        assert violations(name, setting, workers, TRIALS, outcome) == []


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("variant", ["promotion", "stopping"])
def test_nobody_is_idle_and_nothing_is_redone_while_there_are_trials(variant: str, setting: str) -> None:
    chosen = SETTINGS[setting]
    curves = Synth(chosen.diverging)
    search = asha(random(curves.space, 0), R_MAX, variant=variant)  # type: ignore[arg-type]
    outcome = simulate(search, curves, 25, until=2 * R_MAX, every=chosen.every)
    clock = Clock(25, curves.value, curves.seconds, slack=chosen.every)
    assert check_trace(outcome.events, LEVELS, ETA, Brackets(variant), clock=clock) == []  # type: ignore[arg-type]
    assert outcome.idle == outcome.redone == 0


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("workers", [1, 4, 25])
@pytest.mark.parametrize("name", CASES)
def test_lost_workers_lose_no_trial_and_none_reports_twice(name: str, workers: int, seed: int) -> None:
    search, outcome = run(name, "piles", workers, seed, TRIALS, losses=0.3)
    assert sum(event.kind == "release" for event in outcome.events) > 30
    assert violations(name, "piles", workers, TRIALS, outcome) == []
    assert search.done and len(search.trials) == TRIALS
    found = reports(outcome.events)
    assert len(set(found)) == len(found)
    assert all(trial.failed or trial.values for trial in search.trials)


@pytest.mark.parametrize("name", CASES)
def test_with_one_worker_kills_change_nothing_but_the_time(name: str) -> None:
    """The schedule of one worker is a function of the values alone."""
    found = []
    for losses in (0.0, 0.4):
        _, outcome = run(name, "plain", 1, 3, TRIALS, losses)
        found.append([(event.trial, event.rung, event.value) for event in outcome.events if event.kind == "report"])
    assert found[0] == found[1]


@pytest.mark.parametrize("name", CASES)
def test_every_beginning_of_a_log_leads_to_the_same_decision(name: str) -> None:
    """A process that reads the log decides as the one that has been asked all along; and asking changes nothing."""
    trials = 50  # of hyperband a part of a round: the last bracket is closed before it is full
    live, outcome = run(name, "piles", 4, 1, trials, losses=0.2)
    curves = Synth(SETTINGS["piles"].diverging)
    asked = CASES[name].make(random(curves.space, 1), trials)
    for end in range(0, len(outcome.events), 3):
        fresh = CASES[name].make(random(curves.space, 1), trials)
        for event in outcome.events[:end]:
            fresh.record(event)
        assert fresh.next() == fresh.next() == asked.next()
        for event in outcome.events[end : end + 3]:
            asked.record(event)
    assert asked.done and asked.trials == live.trials


def right(variant: str = "promotion") -> list[Event]:
    """A right log: rungs 1, 3, 9, and configurations that are better the smaller their number is."""
    search = asha(numbered, 9, variant=variant, trials=9)  # type: ignore[arg-type]
    return simulate(search, Line(), 2).events


def said(events: list[Event], **options: object) -> str:
    return "\n".join(check_trace(events, [1, 3, 9], 3, trials=9, **options))  # type: ignore[arg-type]


def test_a_right_log_has_nothing_against_it() -> None:
    assert said(right(), done=True) == ""


def test_messages_say_what_happened_and_what_would_have_been_right() -> None:
    events = right()
    place = next(index for index, event in enumerate(events) if event.kind == "start" and event.rung == 1)
    worse = replace(events[place], trial=2)
    assert check_trace([*events[:place], worse], [1, 3, 9], 3) == [
        f"event {place}, start of trial 2 at rung 1 by worker {worse.worker}: "
        "C2: it is number 3 of 4, and only the best 1 may go on"
    ]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda events: events + [events[-1]], "C1: nobody is busy with it"),
        (lambda events: [events[0], *events], "C1: worker 0 is busy with it"),
        (lambda events: events[1:], "C1: the next new trial is 0"),
        (lambda events: [replace(events[0], config=None), *events[1:]], "with its configuration"),
        (lambda events: [replace(events[0], rung=3), *events[1:]], "C8: the rungs are 0 to 2"),
        (lambda events: [replace(events[0], resource=2), *events[1:]], "C9: its resource is 2, that of the rung 1"),
        (lambda events: [replace(events[0], resource=10), *events[1:]], "C8: its resource is 10"),
        (lambda events: change_report(events, attempt=7), "C1: busy with it is worker"),
        (lambda events: change_report(events, worker="x"), "C1: busy with it is worker"),
        (lambda events: change_report(events, value=float("nan")), "C10: the value nan is a failure"),
        (lambda events: change_report(events, value=None), "C10: the value None is a failure"),
        (lambda events: change_report(events, resource=0.5), "C9: its resource is 0.5"),
        (lambda events: events[:-1], "C7: the search is done, but trial 0 is running"),
        (lambda events: events[:-2], "C7: the search is done, but trial 0 could go on"),
        (lambda events: events[:4], "C7: the search is done, but 2 of 9 trials have begun"),
        (lambda events: [*events[:-1], replace(events[-1], kind="release", value=None)], "trial 0 was given back"),
    ],
)
def test_a_log_that_was_changed_is_found(change: Callable[[list[Event]], list[Event]], message: str) -> None:
    assert message in said(change(right()), done=True)


def change_report(events: list[Event], **fields: object) -> list[Event]:
    """Another first report."""
    place = next(index for index, event in enumerate(events) if event.kind == "report")
    return [*events[:place], replace(events[place], **fields), *events[place + 1 :]]  # type: ignore[arg-type]


def test_a_worker_does_one_job_at_a_time() -> None:
    first, second = right()[:2]
    assert "C1: the worker is busy with trial 0" in said([first, replace(second, worker=first.worker)])


def given_back(*then: Event) -> list[Event]:
    start = Event("start", 0, 0, 1, config={"trial": 0}, worker="a")
    return [start, Event("release", 0, 0, 1, worker="a"), *then]


def test_a_job_that_was_given_back_goes_first() -> None:
    again = Event("start", 0, 0, 1, worker="b", attempt=2)
    assert said(given_back(again)) == ""
    assert "C1: attempt 3 follows attempt 1" in said(given_back(replace(again, attempt=3)))
    assert "C1: it was given back on the way to rung 0" in said(given_back(replace(again, rung=1, resource=3)))
    new = Event("start", 1, 0, 1, config={"trial": 1}, worker="b")
    assert "C5: a new trial begins while trial 0 was given back" in said(given_back(new))


def test_a_worker_that_was_taken_for_dead_reports_nothing() -> None:
    report = Event("report", 0, 0, 1, value=0.5, worker="a")
    again = Event("start", 0, 0, 1, worker="b", attempt=2)
    assert "C1: nobody is busy with it" in said(given_back(report))
    assert "C1: busy with it is worker b, attempt 2 at rung 0" in said(given_back(again, report))


def test_resources_that_are_not_exact_may_differ_but_never_shrink() -> None:
    events = change_report(right(), resource=1.25)
    assert "C9" in said(events) and said(events, exact=False) == ""
    assert "C4: it has used 3 in all, but had used 4 before" in said(change_report(right(), resource=4.0), exact=False)


@pytest.mark.parametrize("seed", range(3))
def test_a_quantile_is_accepted_where_it_is_wanted(seed: int) -> None:
    """Of n values, those at or below the 1 / eta quantile of numpy are the best floor((n - 1) / eta) + 1."""
    suggest = random(Synth.space, seed)
    outcome = simulate(search_of(RoundsUp, suggest), Synth(), 4, until=4 * R_MAX)
    assert check_trace(outcome.events, LEVELS, ETA, floor=False) == []
    assert {line.split(": ")[1] for line in check_trace(outcome.events, LEVELS, ETA)} == {"C2"}


def job(trial: int, rung: int = 0) -> list[Event]:
    """A job done, with the value that all trials have."""
    config = None if rung else {"trial": trial}
    start = Event("start", trial, rung, 3**rung, config=config, worker="a", attempt=rung + 1)
    return [start, replace(start, kind="report", value=0.5, config=None)]


@pytest.mark.parametrize("first", [0, 1, 2])
@pytest.mark.parametrize("second", [3, 4, 5])
def test_equal_values_may_go_on_in_any_order(first: int, second: int) -> None:
    three, six = [*job(0), *job(1), *job(2)], [*job(3), *job(4), *job(5)]
    events = [*three, *job(first, 1), *six, *job(second, 1)]
    assert said([*events, *job(6)]) == ""
    assert "C5: a new trial begins while trial" in said([*three, *job(3)])
    assert "C5: a new trial begins while trial" in said([*three, *job(first, 1), *six, *job(6)])


def outcome_of(search: Search) -> Outcome:
    return simulate(search, Synth(), 4, until=4 * R_MAX)


@pytest.mark.parametrize("kind", [TooLate, StopsTheFirst])
def test_wrong_stopping_is_found(kind: type[Stopping]) -> None:
    search = search_of(lambda rungs: kind(rungs, ETA), random(Synth.space, 1))
    found = check_trace(outcome_of(search).events, LEVELS, ETA, Brackets("stopping"))
    assert any(rule in line for line in found for rule in (": C0: ", ": C5: "))


@pytest.mark.parametrize("kind", [TooEarly, TooMany, WorstOfAll])
def test_wrong_rounds_are_found(kind: type[Rounds]) -> None:
    search = Search(random(Synth.space, 1), LEVELS, lambda trial: trial // 27, lambda _: kind(27, len(LEVELS), ETA))
    found = check_trace(
        outcome_of(search).events, LEVELS, ETA, Brackets("rounds", lambda trial: trial // 27, size=lambda _: 27)
    )
    assert any(": C2: " in line for line in found)


def test_brackets_are_read_from_a_config_as_the_search_reads_it() -> None:
    node = {"name": "successive_halving", "r_min": 1, "eta": 3, "budget": None}
    assert brackets_of(node, LEVELS, None).size(0) == 81
    shorter = successive_halving(numbered, 81, budget=648)  # 81 trials in rounds of 162: the first rung is 2
    found = brackets_of(node | {"budget": 648}, shorter.levels, None)
    assert check_trace(simulate(shorter, Line(), 3).events, shorter.levels, 3, found, trials=81, done=True) == []
    assert brackets_of({"name": "random"}, [81], None).variant == "promotion"


def test_three_thousand_trials_are_checked_within_a_second() -> None:
    search = asha(random(Synth.space, 0), R_MAX, trials=3000)
    events = simulate(search, Synth(), 25).events
    begun = time.process_time()
    assert check_trace(events, LEVELS, ETA, trials=3000, done=True) == []
    assert time.process_time() - begun < 1

"""Successive halving: sizes of its rounds, its budget, trials that fail, samplers that run out."""

import pytest
from simulated import Line, jobs, numbered

from d2lcli.hpo.grid import grid
from d2lcli.hpo.search import Search
from d2lcli.hpo.simulation import entries, simulate
from d2lcli.hpo.space import Choice
from d2lcli.hpo.successive_halving import first_rung, successive_halving


def test_the_book_s_example_has_rungs_2_4_8_10_with_8_4_2_1_trials() -> None:
    search = successive_halving(numbered, 10, r_min=2, eta=2, trials=8)
    outcome = simulate(search, Line(), 1)
    assert search.levels == [2, 4, 8, 10]
    assert entries(outcome.events, 4) == [8, 4, 2, 1]
    assert jobs(outcome)[8:] == [(0, 1), (1, 1), (2, 1), (3, 1), (0, 2), (1, 2), (0, 3)]
    assert outcome.trained == 8 * 2 + 4 * 2 + 2 * 4 + 1 * 2  # each goes on from where it rests


def test_a_round_waits_for_its_slowest_trial() -> None:
    outcome = simulate(successive_halving(numbered, 9, trials=9), Line(), 2)
    second = next(index for index, (_, rung) in enumerate(jobs(outcome)) if rung == 1)
    assert second == 9
    assert next(event.time for event in outcome.events if event.rung == 1) == 5  # five waves of two
    assert outcome.idle > 0


def test_who_has_nothing_to_do_begins_the_next_bracket() -> None:
    outcome = simulate(successive_halving(numbered, 9, trials=9, brackets=2), Line(), 2)
    assert (9, 0) in jobs(outcome)[:10]
    assert entries(outcome.events, 3) == [18, 6, 2]


def test_the_default_number_of_trials_brings_one_to_the_end() -> None:
    outcome = simulate(successive_halving(numbered, 81), Line(), 4)
    assert entries(outcome.events, 5) == [81, 27, 9, 3, 1]


@pytest.mark.parametrize(
    ("budget", "trials", "eta", "expected"),
    [(648, 81, 3, 2), (324, 81, 3, 1), (48, 8, 2, 2), (5, 1, 3, 5), (90, 10, 3, 3)],
)
def test_the_budget_is_shared_evenly_by_the_rounds(budget: float, trials: int, eta: float, expected: float) -> None:
    """r_0 = B / (n ceil(log_eta n)); 10 trials have 3 rounds."""
    assert first_rung(budget, trials, eta, 100) == pytest.approx(expected)


def test_a_bracket_keeps_to_its_budget() -> None:
    """Rounds 2, 4, 8 and 16 of 8, 4, 2 and 1 trials would be 16 each; all go on from where they rest, so it is less."""
    outcome = simulate(successive_halving(numbered, 16, eta=2, trials=8, budget=48), Line(), 1)
    assert entries(outcome.events, 4) == [8, 4, 2, 1]
    assert outcome.trained == 8 * 2 + 4 * 2 + 2 * 4 + 1 * 8 <= 48


def test_failures_leave_places_to_those_who_are_left() -> None:
    nan = float("nan")
    table = {(trial, 1.0): nan for trial in range(9) if trial != 8} | {(8, 1.0): 0.5}
    outcome = simulate(successive_halving(numbered, 9, trials=9), Line(table), 1)
    assert jobs(outcome)[9:] == [(8, 1), (8, 2)]


def test_a_bracket_whose_trials_all_fail_is_done() -> None:
    table = {(trial, 1.0): float("nan") for trial in range(3)}
    search = successive_halving(numbered, 9, trials=3, brackets=2)
    outcome = simulate(search, Line(table), 1)
    assert search.done
    assert entries(outcome.events, 3) == [3, 1, 1]


def test_a_sampler_that_runs_out_makes_a_smaller_bracket() -> None:
    suggest = grid({"trial": Choice((0, 1, 2, 3, 4, 5))})
    outcome = simulate(successive_halving(suggest, 9, trials=9), Line(), 1)
    assert entries(outcome.events, 3) == [6, 2, 1]


def test_another_process_learns_from_the_log_alone_that_a_bracket_was_closed() -> None:
    """It has never asked what is next, and so has not met the end of the sampler itself."""
    make = lambda: successive_halving(grid({"trial": Choice((0, 1, 2, 3, 4, 5))}), 9, trials=9)  # noqa: E731
    outcome = simulate(make(), Line(), 1)
    for end in range(len(outcome.events)):
        fresh: Search = make()
        for event in outcome.events[:end]:
            fresh.record(event)
        following = outcome.events[end]
        if following.kind == "start":
            job = fresh.next()
            assert job is not None and (job.trial, job.rung) == (following.trial, following.rung)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"r_max": 9, "r_min": 0}, "must begin above 0"),
        ({"r_max": 9, "eta": 0.5}, "eta=0.5 must be above 1"),
        ({"r_max": 9, "trials": 0}, "trials=0 must be at least 1"),
        ({"r_max": 9, "brackets": 0}, "brackets=0 must be at least 1"),
        ({"r_max": 9, "trials": 9, "budget": 0}, "budget=0 gives each of 9 trials 0"),
        ({"r_max": 9, "trials": 9, "budget": 1000}, "at most r_max=9"),
        ({"r_max": 9, "trials": 9, "budget": float("nan")}, "budget=nan"),
    ],
)
def test_bad_options_are_refused(options: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        successive_halving(numbered, **options)  # type: ignore[arg-type]

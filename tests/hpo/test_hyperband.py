"""Hyperband: the published table of its brackets."""

from collections import Counter

import pytest
from simulated import CASES, Line, jobs, numbered

from d2lcli.hpo.hyperband import bracket_sizes, hyperband
from d2lcli.hpo.simulation import simulate

# Li et al., 2018, table 1, R = 81 and eta = 3: trials and epochs of each round, brackets s = 4, 3, 2, 1, 0.
TABLE = [
    [(81, 1), (27, 3), (9, 9), (3, 27), (1, 81)],
    [(34, 3), (11, 9), (3, 27), (1, 81)],
    [(15, 9), (5, 27), (1, 81)],
    [(8, 27), (2, 81)],
    [(5, 81)],
]


def test_brackets_have_the_sizes_of_the_paper() -> None:
    assert bracket_sizes(5, 3) == [81, 34, 15, 8, 5]


def test_rounds_have_the_sizes_of_the_paper() -> None:
    search = hyperband(numbered, 81)
    outcome = simulate(search, Line(), 1)
    found = Counter(jobs(outcome))
    ends = [81, 115, 130, 138, 143]
    for rows, begin, end in zip(TABLE, [0, *ends], ends):
        counted = [sum(begin <= trial < end and r == rung for trial, r in found) for rung in range(5)]
        assert [(n, level) for n, level in zip(counted, search.levels) if n] == rows
    assert set(found.values()) == {1}


@pytest.mark.parametrize("variant", ["successive_halving", "asha"])
def test_brackets_come_again(variant: str) -> None:
    search = hyperband(numbered, 9, variant=variant, trials=2 * 22)  # type: ignore[arg-type]
    outcome = simulate(search, Line(), 3)
    firsts: dict[int, int] = {}
    for trial, rung in jobs(outcome):
        firsts.setdefault(trial, rung)
    round_ = [0] * 9 + [1] * 5 + [2] * 3
    assert [firsts[trial] for trial in range(34)] == round_ * 2


def test_with_asha_a_bracket_that_comes_again_goes_on_with_all_its_trials() -> None:
    """Three rungs, 9 + 5 + 3 trials.  Of 18 trials at its first rung six go on, not three and three."""
    worse_later = {(trial, 1.0): float(trial) for trial in range(34)}
    search = hyperband(numbered, 9, variant="asha", trials=34)
    outcome = simulate(search, Line(worse_later), 1)
    gone = [trial for trial, rung in jobs(outcome) if rung == 1 and trial in {*range(9), *range(17, 26)}]
    assert gone == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize("name", ["hyperband", "hyperband_asha"])
@pytest.mark.parametrize("trials", [1, 17, 100, 300])
def test_any_number_of_trials_comes_to_an_end(name: str, trials: int) -> None:
    search = CASES[name].make(numbered, trials)
    outcome = simulate(search, Line(), 4)
    assert search.done and len(search.trials) == trials
    assert outcome.events[-1].kind == "report"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"r_max": -1}, "r_max=-1"),
        ({"r_max": 9, "eta": 1}, "eta=1 must be above 1"),
        ({"r_max": 9, "trials": 0}, "trials=0 must be at least 1"),
    ],
)
def test_bad_options_are_refused(options: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        hyperband(numbered, **options)  # type: ignore[arg-type]

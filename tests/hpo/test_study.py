"""A study as its workers see it: claims, reports, workers that are lost, trials that fail.  The log lies in memory."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from memory_log import Log, Shared

from d2lcli.errors import ConfigError
from d2lcli.hpo import results
from d2lcli.hpo.events import Event
from d2lcli.hpo.plan import Spec, make_spec
from d2lcli.hpo.storage import open_storage
from d2lcli.hpo.study import Study, open_study


def spec(*words: str, **fields: Any) -> Spec:
    return replace(make_spec([*words, "optim.lr=tag(log,interval(1e-3,1))", "epochs=9"], trials=9), **fields)


def studies(count: int, chosen: Spec) -> tuple[Shared, list[Study]]:
    """Several processes on one study."""
    shared = Shared()
    return shared, [Study(Log(shared), chosen, Path("study")) for _ in range(count)]  # type: ignore[arg-type]


def kinds(events: Sequence[Event]) -> list[str]:
    return [event.kind for event in events]


def test_workers_share_the_trials() -> None:
    _shared, (one, two) = studies(2, spec())
    first, second = one.claim("a"), two.claim("b")
    assert first is not None and second is not None
    assert (first.trial, second.trial) == (0, 1) and first.config != second.config
    assert one.report(first, 0.5, 1) and two.report(second, 0.7, 1)
    third = one.claim("a")
    assert third is not None and third.trial == 2
    one.report(third, 0.6, 1)
    promoted = two.claim("b")
    assert promoted is not None and (promoted.trial, promoted.rung, promoted.resource) == (1, 1, 3)
    assert promoted.config is None and promoted.attempt == 2
    assert one.catch_up() and one.trials[1].values == {0: -0.7}  # accuracy: larger is better, and so negated


def test_one_worker_does_all_of_it() -> None:
    shared, (study,) = studies(1, spec())
    while start := study.claim("a"):
        study.report(start, 1 - start.trial / 100, start.resource)
    assert study.done and len(study.trials) == 9
    study.settle()
    assert shared.settled
    best = study.best()
    assert best is not None and best[0].number == 0
    assert results.count(study) == {"total": 9, "finished": 1, "failed": 0, "running": 0, "resting": 8}
    assert [row["trials"] for row in results.rungs(study)] == [9, 3, 1]
    # Only a report at the last rung is a trial's last one.
    assert [event.rung for event, last in zip(shared.events, shared.last) if last] == [2]


def test_the_job_of_a_lost_worker_is_given_to_the_next_one() -> None:
    shared, (one, two) = studies(2, spec())
    start = one.claim("a")
    shared.dead.add("a")
    again = two.claim("b")
    assert start is not None and again is not None
    assert (again.trial, again.rung, again.attempt, again.config) == (start.trial, start.rung, 2, None)
    assert kinds(shared.events) == ["start", "release", "start"]
    assert not one.report(start, 0.9, 1)  # it was not dead after all: what it says no longer counts
    assert two.report(again, 0.8, 1) and two.trials[0].values == {0: -0.8}


def test_a_trial_that_kills_its_workers_is_given_up() -> None:
    _shared, (study,) = studies(1, spec())
    for attempt in range(3):
        start = study.claim("a")
        assert start is not None and (start.trial, start.attempt) == (0, attempt + 1)
        study.died("a", "was killed by SIGKILL")
    after = study.claim("a")
    assert after is not None and after.trial == 1
    assert study.trials[0].failed
    assert study.reasons[0] == "its worker died before its first checkpoint: it was killed by SIGKILL, time 3"


def test_a_trial_that_comes_further_each_time_is_not_to_blame(tmp_path: Path) -> None:
    study = Study(Log(Shared()), spec(), tmp_path)  # type: ignore[arg-type]
    checkpoints = tmp_path / "trials" / "0000" / "checkpoints"
    checkpoints.mkdir(parents=True)
    for step in range(12):
        start = study.claim("a")
        assert start is not None and start.trial == 0
        if step % 2 == 0:
            (checkpoints / "last").unlink(missing_ok=True)
            (checkpoints / f"step-{step:08d}").mkdir()
            (checkpoints / "last").symlink_to(f"step-{step:08d}")
        study.died("a", "was killed by SIGKILL")
    assert not study.trials[0].failed


def test_a_search_that_is_killed_as_a_whole_blames_no_trial() -> None:
    """Its workers die with it, however often."""
    shared, (study,) = studies(1, spec())
    for attempt in range(20):
        start = study.claim(f"worker-{attempt}")
        assert start is not None and start.trial == 0
        shared.dead.add(f"worker-{attempt}")
    assert not study.trials[0].failed


def test_a_job_that_was_given_back_is_done_first_and_costs_no_attempt() -> None:
    _shared, (study,) = studies(1, spec())
    for _ in range(5):
        start = study.claim("a")
        assert start is not None and start.trial == 0
        assert study.release(start, "stopped")
    assert not study.trials[0].failed and not study.done


def test_a_worker_that_leaves_gives_back_what_it_has_claimed() -> None:
    shared, (one, two) = studies(2, spec())
    start, other = one.claim("a"), two.claim("b")
    one.give_back("a")
    one.give_back("a")
    assert start is not None and other is not None
    assert kinds(shared.events) == ["start", "start", "release"] and shared.events[-1].reason == "stopped"
    again = two.claim("b")
    assert again is not None and again.trial == start.trial


def test_failures_in_a_row_end_a_study() -> None:
    _shared, (study,) = studies(1, spec(max_failures=3))
    for number in range(3):
        start = study.claim("a")
        assert start is not None
        study.fail(start, f"reason {number}")
    assert study.hopeless and study.done and study.claim("a") is None
    assert study.reasons == {0: "reason 0", 1: "reason 1", 2: "reason 2"}


def test_a_failed_trial_is_never_promoted() -> None:
    shared, (study,) = studies(1, spec())
    while start := study.claim("a"):
        if start.trial % 3 == 0:
            study.fail(start, "the loss is nan")
        else:
            study.report(start, start.trial / 10, start.resource)
    promoted = {event.trial for event in shared.events if event.kind == "start" and event.rung > 0}
    assert promoted and not any(trial % 3 == 0 for trial in promoted)
    assert results.count(study)["failed"] == 3


def test_the_best_is_a_command() -> None:
    _shared, (study,) = studies(1, spec("model=mlp"))
    start = study.claim("a")
    assert start is not None and start.config is not None
    study.report(start, 0.75, 1)
    found = results.best(study)
    assert found is not None and found["value"] == 0.75
    lr = start.config["optim.lr"]
    assert found["command"] == f"d2l train model=mlp epochs=9 optim.lr={lr!r} seed=0"


@pytest.mark.parametrize(("mode", "expected"), [("min", [0.5, 0.25]), ("max", [0.5, 0.75])])
def test_incumbents_are_the_reports_that_were_the_best_so_far(mode: str, expected: list[float]) -> None:
    _shared, (study,) = studies(1, spec(mode=mode))
    for value in (0.5, 0.75, 0.25):
        start = study.claim("a")
        assert start is not None
        study.report(start, value, 1)
    assert [row["value"] for row in results.summarise(study, "done")["incumbents"]] == expected


@pytest.mark.parametrize("search", ["successive_halving", "hyperband"])
def test_rounds_are_not_made_for_more_trials_afterwards(search: str, tmp_path: Path) -> None:
    """Who goes on in a round is decided by its size; asha has no rounds, and takes more."""
    storage = open_storage(f"sqlite:///{tmp_path / 'hpo.db'}", say=print)
    for name in (search, "asha"):
        words = ["model=softmax_regression", "optim.lr=tag(log,interval(1e-3,1))", "epochs=9"]
        open_study(storage, name, tmp_path, make_spec(words, search=name, trials=9))
    assert open_study(storage, "asha", tmp_path, None, trials=11).spec.trials == 11
    with pytest.raises(ConfigError, match="--trials 11: the rounds of study") as caught:
        open_study(storage, search, tmp_path, None, trials=11)
    assert "--trials 11" in caught.value.hint
    assert open_study(storage, search, tmp_path, None).spec.trials == 9

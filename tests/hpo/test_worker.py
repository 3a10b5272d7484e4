"""What a worker does with a job: trains the trial to its rung in its folder, and writes down how that ended."""

import json
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from memory_log import Log, Shared
from runs import LINEAR, stop_at, weights

import d2lcli
from d2lcli.errors import DataError
from d2lcli.hpo import worker
from d2lcli.hpo.events import Event
from d2lcli.hpo.plan import make_spec
from d2lcli.hpo.study import Study

LR = "optim.lr=tag(log,interval(1e-3,1e-2))"


def study_in(folder: Path, *words: str, search: str = "asha", **fields: Any) -> Study:
    spec = make_spec([*LINEAR, "epochs=9", *(words or [LR])], search=search, trials=4)
    return Study(Log(Shared()), replace(spec, **fields), folder)  # type: ignore[arg-type]


def do_all(study: Study) -> list[Event]:
    while start := study.claim("a"):
        assert worker._do(study, start) == 0
    return study.events


def test_trials_train_rung_by_rung_in_folders_of_their_own(tmp_path: Path) -> None:
    study = study_in(tmp_path)
    do_all(study)
    steps = {
        trial.number: json.loads((study.run_folder(trial.number) / "result.json").read_text())["steps"]
        for trial in study.trials
    }
    assert sorted(steps.values()) == [5, 5, 5, 15]  # epochs of 5 updates: one of the four went on to 3 epochs
    assert all(set(trial.values) == ({0, 1} if steps[trial.number] == 15 else {0}) for trial in study.trials)


def test_a_trial_is_the_run_that_its_command_trains(tmp_path: Path) -> None:
    """Paused and gone on with, and with a seed of its own, its weights are those of the command that is printed."""
    study = study_in(tmp_path / "study", LR, "search.eta=2")
    do_all(study)
    whole = max(study.trials, key=lambda trial: max(trial.values))
    assert max(whole.values) >= 2
    level = study.search.levels[max(whole.values)]
    words = study.spec.overrides(whole.number, whole.config)
    assert f"seed={whole.number}" in words
    d2lcli.train([*words, f"epochs={level:g}"], run_dir=tmp_path / "alone")
    expected, found = weights(tmp_path / "alone"), weights(study.run_folder(whole.number))
    assert all(bool((found[name] == tensor).all()) for name, tensor in expected.items())


def test_samplers_alone_train_every_trial_to_its_own_end(tmp_path: Path) -> None:
    study = study_in(tmp_path, "epochs=1,2", search="grid")
    events = [event for event in do_all(study) if event.kind == "report"]
    assert {event.resource for event in events} == {1.0, 2.0}


def test_a_trial_that_fails_does_not_end_the_study(tmp_path: Path) -> None:
    study = study_in(tmp_path, "optim.lr=1e-3,1e30", search="grid")
    do_all(study)
    assert [trial.failed for trial in study.trials] == [False, True]
    assert "loss" in study.reasons[1]


def test_an_exception_in_a_trial_is_its_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("a bug")

    study = study_in(tmp_path, max_failures=1)
    monkeypatch.setattr(worker, "_train", broken)
    start = study.claim("a")
    assert start is not None and worker._do(study, start) == 0
    assert study.reasons == {0: "ZeroDivisionError: a bug"} and study.hopeless


@pytest.mark.parametrize(
    ("metrics", "reason"),
    [
        ({"loss": "nan"}, "loss is nan"),
        ({"loss": "inf"}, "loss is inf"),
        ({}, "no number loss"),
        ({"loss": [1]}, "no number"),
    ],
)
def test_a_value_that_is_no_number_is_a_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, metrics: dict[str, Any], reason: str
) -> None:
    study = study_in(tmp_path, metric="loss", mode="min")
    monkeypatch.setattr(worker, "_train", lambda *_: {"metrics": metrics, "epochs": 1})
    start = study.claim("a")
    assert start is not None
    worker._do(study, start)
    assert reason in study.reasons[0] and study.trials[0].failed and not study.trials[0].values


def test_missing_data_ends_the_worker_and_costs_no_trial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: object) -> None:
        raise DataError("no such file")

    study = study_in(tmp_path)
    monkeypatch.setattr(worker, "_train", missing)
    start = study.claim("a")
    assert start is not None
    with pytest.raises(DataError):
        worker._do(study, start)
    assert [event.kind for event in study.events] == ["start", "release"] and not study.trials[0].failed


def test_a_stopped_worker_gives_its_job_back_and_another_one_ends_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = study_in(tmp_path / "one"), study_in(tmp_path / "two")
    start = one.claim("a")
    assert start is not None
    stop_at(monkeypatch, 3)
    assert worker._do(one, start) == 128 + signal.SIGTERM
    assert [event.kind for event in one.events] == ["start", "release"]
    do_all(one)
    do_all(two)
    assert [trial.values for trial in one.trials] == [trial.values for trial in two.trials]


def test_a_folder_that_is_in_use_is_left_alone(tmp_path: Path) -> None:
    study = study_in(tmp_path)
    start = study.claim("a")
    assert start is not None
    folder = study.run_folder(start.trial)
    folder.mkdir(parents=True)
    from d2lcli.training.runfolder import RunFolder

    held = RunFolder(folder)
    held.lock()
    worker.LOOK, before = 0.0, worker.LOOK
    try:
        assert worker._do(study, start) == 0
    finally:
        worker.LOOK = before
        held.release()
    assert [event.kind for event in study.events] == ["start", "release"]
    do_all(study)
    assert not study.reasons

"""What every registered search must do."""

import json
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import pytest

from d2lcli.config.places import conf_dir, conf_names
from d2lcli.config.search import search_parameters
from d2lcli.config.yaml_text import load_yaml
from d2lcli.errors import ConfigError
from d2lcli.hpo.events import Event
from d2lcli.hpo.search import Search, Trial
from d2lcli.hpo.space import Choice, Configuration, Float, Int
from d2lcli.registry import SEARCHERS
from d2lcli.registry.options import check_value

SPACE = {
    "optim.lr": Float(1e-4, 1.0, log=True),
    "model.dropout": Float(0.0, 0.5),
    "batch_size": Int(32, 256, log=True),
    "layers": Int(1, 3),
    "model": Choice(("lenet", "mlp", None)),
}

every_search = pytest.mark.parametrize(
    "name", [name for name in SEARCHERS.names() if not SEARCHERS.describe(name).schedules]
)
every_schedule = pytest.mark.parametrize(
    "name", [name for name in SEARCHERS.names() if SEARCHERS.describe(name).schedules]
)


@every_search
def test_a_configuration_has_a_value_of_each_dimension(name: str) -> None:
    suggest = SEARCHERS.build(name, space=SPACE)
    for trial in range(100):
        found = suggest(trial)
        assert list(found) == list(SPACE)
        assert 1e-4 <= found["optim.lr"] <= 1 and 0 <= found["model.dropout"] <= 0.5
        assert type(found["batch_size"]) is int and 32 <= found["batch_size"] <= 256
        assert type(found["layers"]) is int and 1 <= found["layers"] <= 3
        assert found["model"] in ("lenet", "mlp", None)


@every_search
def test_a_configuration_depends_on_the_trial_alone(name: str) -> None:
    suggest = SEARCHERS.build(name, space=SPACE)
    forwards = [suggest(trial) for trial in range(60)]
    backwards = [SEARCHERS.build(name, space=SPACE)(trial) for trial in reversed(range(60))]
    assert forwards == backwards[::-1]


@every_search
def test_all_configurations_differ(name: str) -> None:
    suggest = SEARCHERS.build(name, space=SPACE)
    assert len({json.dumps(suggest(trial)) for trial in range(100)}) == 100


@every_search
def test_the_caller_may_change_what_it_was_given(name: str) -> None:
    suggest = SEARCHERS.build(name, space=SPACE)
    suggest(0).clear()
    assert list(suggest(0)) == list(SPACE)


@every_search
def test_misuse_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="search space is empty"):
        SEARCHERS.build(name, space={})
    with pytest.raises(ValueError, match="no name"):
        SEARCHERS.build(name, space={"": Int(1, 2)})
    with pytest.raises(ValueError, match="trial=-1 must be at least 0"):
        SEARCHERS.build(name, space=SPACE)(-1)
    with pytest.raises(ConfigError, match="unknown option 'spaze'"):
        SEARCHERS.build(name, space=SPACE, spaze=3)


def numbers(trial: int, trials: Sequence[Trial] = ()) -> Configuration:
    return {"x": trial}


def run(search: Search, steps: int = 2000) -> list[Event]:
    """One worker does all jobs, the value is the trial's number."""
    log: list[Event] = []
    while (job := search.next()) and len(log) < steps:
        for kind in ("start", "report"):
            value = float(job.trial) if kind == "report" else None
            log.append(Event(kind, job.trial, job.rung, job.resource, value, job.config))  # type: ignore[arg-type]
            search.record(log[-1])
    return log


@every_schedule
def test_a_schedule_trains_its_trials_and_ends(name: str) -> None:
    search = SEARCHERS.build(name, suggest=numbers, r_max=9, trials=9)
    log = run(search)
    reports = [event for event in log if event.kind == "report"]
    assert search.done and len(search.trials) == 9 and search.levels[-1] == 9
    assert len({(event.trial, event.rung) for event in reports}) == len(reports) >= 9
    assert (0, 2) in {(event.trial, event.rung) for event in reports}  # the best one is trained to the end


@every_schedule
def test_asking_changes_nothing(name: str) -> None:
    search = SEARCHERS.build(name, suggest=numbers, r_max=9, trials=9)
    assert search.next() == search.next() == SEARCHERS.build(name, suggest=numbers, r_max=9, trials=9).next()


@every_schedule
def test_a_schedule_refuses_wrong_numbers(name: str) -> None:
    with pytest.raises(ValueError, match="r_min=10"):
        SEARCHERS.build(name, suggest=numbers, r_max=9, r_min=10)
    with pytest.raises(ConfigError, match="eta: 1 is out of range"):
        SEARCHERS.build(name, suggest=numbers, r_max=9, eta=1)


def test_there_is_one_file_for_each_search() -> None:
    assert list(conf_names("search")) == SEARCHERS.names()


@pytest.mark.parametrize("name", SEARCHERS.names())
def test_the_file_holds_the_defaults(name: str) -> None:
    values: dict[str, Any] = load_yaml(conf_dir() / "search" / f"{name}.yaml")
    parameters = search_parameters(name)
    assert values.pop("name") == name
    assert values == {key: parameter.default for key, parameter in parameters.items()}
    assert {key: check_value(value, parameters[key]) for key, value in values.items()} == dict.fromkeys(values, "")


def test_searching_needs_neither_torch_nor_numpy() -> None:
    program = """
import sys
from d2lcli.hpo.space import Int
from d2lcli.registry import SEARCHERS
for name in sys.argv[1:]:
    if SEARCHERS.describe(name).schedules:
        assert SEARCHERS.build(name, suggest=lambda trial, trials=(): {"x": trial}, r_max=9).next() is not None
    else:
        assert SEARCHERS.build(name, space={"x": Int(1, 2)})(0) is not None
sys.exit(bool({"torch", "numpy", "optuna"} & set(sys.modules)))
"""
    command = [sys.executable, "-c", program, *SEARCHERS.names()]
    assert subprocess.run(command, check=False).returncode == 0

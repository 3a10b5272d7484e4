"""What every registered search must do."""

import json
import subprocess
import sys
from typing import Any

import pytest

from d2lcli.config.places import conf_dir, conf_names
from d2lcli.config.yaml_text import load_yaml
from d2lcli.errors import ConfigError
from d2lcli.hpo.space import Choice, Float, Int
from d2lcli.registry import SEARCHERS
from d2lcli.registry.options import check_value

SPACE = {
    "optim.lr": Float(1e-4, 1.0, log=True),
    "model.dropout": Float(0.0, 0.5),
    "batch_size": Int(32, 256, log=True),
    "layers": Int(1, 3),
    "model": Choice(("lenet", "mlp", None)),
}

every_search = pytest.mark.parametrize("name", SEARCHERS.names())


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


def test_there_is_one_file_for_each_search() -> None:
    assert list(conf_names("search")) == SEARCHERS.names()


@every_search
def test_the_file_holds_the_defaults(name: str) -> None:
    values: dict[str, Any] = load_yaml(conf_dir() / "search" / f"{name}.yaml")
    parameters = {key: parameter for key, parameter in SEARCHERS.parameters(name).items() if not parameter.live}
    assert values.pop("name") == name
    assert values == {key: parameter.default for key, parameter in parameters.items()}
    assert {key: check_value(value, parameters[key]) for key, value in values.items()} == dict.fromkeys(values, "")


def test_searching_needs_neither_torch_nor_numpy() -> None:
    program = """
import sys
from d2lcli.hpo.space import Int
from d2lcli.registry import SEARCHERS
for name in sys.argv[1:]:
    SEARCHERS.build(name, space={"a": Int(1, 2)})(0)
sys.exit(bool({"torch", "numpy", "optuna"} & set(sys.modules)))
"""
    assert subprocess.run([sys.executable, "-c", program, *SEARCHERS.names()], check=False).returncode == 0

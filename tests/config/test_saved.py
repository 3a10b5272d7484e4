"""Saved configs: read back as they were, and checked as if a stranger had written them; explain and differences."""

from typing import Any

import pytest

from d2lcli.config import amend, compose, differences, dump_yaml, explain, from_values
from d2lcli.config.yaml_text import parse_document
from d2lcli.errors import ConfigError


def saved(*overrides: str) -> dict[str, Any]:
    return parse_document(dump_yaml(compose(overrides).values), "config.yaml").values


@pytest.mark.parametrize("words", [[], ["model=lenet", "init=normal"], ["model=linear_regression", "optim=adamw"]])
def test_a_saved_config_is_read_back(words: list[str]) -> None:
    config = compose(words)
    again = from_values(saved(*words))
    assert again.values == config.values
    assert {key: again.choices[key] for key in ("model", "data", "optim")} == {
        key: config.choices[key] for key in ("model", "data", "optim")
    }


@pytest.mark.parametrize("more", [[], ["hardware=auto"], ["hardware.threads=2"]])
def test_the_command_of_an_experiment_that_chooses_hardware_can_be_given_again(more: list[str]) -> None:
    words = ["experiment=scaling_law", *more]
    assert amend(saved(*words), words).values == compose(words).values


def test_reading_does_not_change_what_was_given() -> None:
    values = saved()
    del values["keep"]
    assert from_values(values).values["keep"] == 2
    assert "keep" not in values


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"zz": 1}, "zz: unknown key"),
        ({"seed": "x"}, "seed: 'x' is not an integer"),
        ({"model": 3}, "model: null is not a name"),
        ({"optim": {"name": "os.system"}}, "optim: unknown name 'os.system'"),
        ({"model": {"name": "lenet", "_target_": "os.mkdir"}}, "model._target_: unknown key"),
        ({"hardware": 3}, "hardware: 3 is not a mapping"),
        ({"task": {"name": "classification", "loss": "os:system", "metrics": []}}, "'os:system' is no loss"),
        ({"optim": {"name": "sgd", "lr": "${oc.env:HOME}"}}, "only a whole value may be"),
        ({"init": {"name": "../../etc"}}, "init: unknown name '../../etc'"),
    ],
)
def test_a_hostile_config_is_refused(change: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        from_values(saved() | change)
    assert any(words in line and line.endswith("(config.yaml)") for line in caught.value.problems)


@pytest.mark.parametrize("values", [None, [], "x", {}])
def test_what_is_no_config_is_refused(values: Any) -> None:
    with pytest.raises(ConfigError, match=r"config\.yaml"):
        from_values(values)


def test_explain_shows_every_layer_and_the_winner_last() -> None:
    layers = explain("optim.lr", ["experiment=lenet_d2l", "optim.lr=0.5", "optim={lr: 0.6}"])
    places = [layer.place for layer in layers]
    assert places[0] == "default"
    assert places[1].startswith("conf/optim/sgd.yaml:")
    assert places[2].startswith("conf/experiment/lenet_d2l.yaml:")
    assert places[3:] == ["command line", "command line"]
    assert layers[-1].value == 0.6


def test_explain_choices() -> None:
    assert [layer.value for layer in explain("model", ["model=lenet"])] == ["mlp", "lenet"]
    assert explain("data", [])[-1].place == "model 'mlp'"
    assert explain("strategy", ["hardware=ddp"])[-1].place.startswith("conf/hardware/ddp.yaml")


def test_explain_refuses_unknown_keys() -> None:
    with pytest.raises(ConfigError, match=r"optm\.lr: unknown key; did you mean 'optim\.lr'"):
        explain("optm.lr", [])


def test_differences() -> None:
    old = {"a": 1, "b": {"c": 1, "d": [1]}, "e": None, "gone": 1}
    new = {"a": 1.0, "b": {"c": 2, "d": [1]}, "e": None, "new": {"x": 1}}
    assert differences(old, new) == [("a", 1, 1.0), ("b.c", 1, 2), ("gone", 1, None), ("new.x", None, 1)]
    assert differences(old, old) == []

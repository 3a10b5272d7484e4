"""Several values for a key in Hydra's sweep grammar, and values written as overrides."""

from typing import Any

import pytest

from d2lcli.config.overrides import read_overrides
from d2lcli.config.problems import Problems
from d2lcli.config.sweeps import Sweep, part_sweeps, write_override
from d2lcli.errors import ConfigError


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("optim.lr=tag(log,interval(1e-4,1))", Sweep("optim.lr", (), 1e-4, 1.0, log=True)),
        ("model.dropout=interval(0,1)", Sweep("model.dropout", (), 0.0, 1.0)),
        ("epochs=int(interval(1,10))", Sweep("epochs", (), 1, 10, integer=True)),
        ("epochs=tag(log,int(interval(1,10)))", Sweep("epochs", (), 1, 10, log=True, integer=True)),
        ("epochs=range(1,10)", Sweep("epochs", (), 1, 9, integer=True)),
        ("data.batch_size=range(16,65,16)", Sweep("data.batch_size", (16, 32, 48, 64))),
        ("model=lenet,mlp", Sweep("model", ("lenet", "mlp"))),
        ("model.hidden=[256],[128,64]", Sweep("model.hidden", ([256], [128, 64]))),
        ("monitor=null,'a b'", Sweep("monitor", (None, "a b"))),
        ("model=glob(resnet*,exclude=*0*)", Sweep("model", ("resnet152", "resnet18", "resnet34"))),
    ],
)
def test_the_sweep_of_a_word(word: str, expected: Sweep) -> None:
    sweeps, others = part_sweeps([word, "seed=1"])
    assert (sweeps, others) == ([expected], ["seed=1"])
    assert [type(value) for value in sweeps[0].values] == [type(value) for value in expected.values]


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("optim.lr=tag(log,choice(1,2))", "the tag log is for an interval"),
        ("optim.lr=tag(lg,interval(1,2))", "unknown tag 'lg'"),
        ("epochs=range(3,3)", "the range is empty"),
        ("model=glob(nothing*)", "is no name of a group"),
        ("optim.lr=interval(1", "cannot be read"),
        ("model._target_=a,b", "is not allowed"),
        ("model={_target_: x},lenet", "is not allowed"),
        ("hydra.run=a,b", "is not part of this config"),
    ],
)
def test_what_cannot_be_searched(word: str, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason.replace("*", r"\*")):
        part_sweeps([word])


def test_a_key_has_one_set_of_values() -> None:
    with pytest.raises(ConfigError, match="two sets of values"):
        part_sweeps(["optim.lr=1,2", "optim.lr=interval(0,1)"])


@pytest.mark.parametrize(
    "value",
    [1, 1e-5, 0.1 + 0.2, -3.5, True, None, "lenet", "true", "null", "", "a b", "it's", "a\\", "\\'", "a,b=c", "x${y}",
     [1, "a b", [None]], {"name": "anynet", "depths": [1, 2]}, "1", "1e5", "é"],
)  # fmt: skip
def test_a_value_is_read_as_it_was_written(value: Any) -> None:
    problems = Problems()
    (setting,) = read_overrides([write_override("model.x", value)], problems)
    problems.raise_any()
    assert setting.key == ("model", "x")
    assert setting.value == value and type(setting.value) is type(value)

"""Which way an update is made, by what the task knows and the config asks for."""

from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from d2lcli.errors import ConfigError
from d2lcli.training.ways import choose_way, compiled

PLAIN = {"l1": 0.0, "l2": 0.0, "max_norm": None, "clip_norm": None, "clip_value": None, "freeze": None}
LOSS = SimpleNamespace(train_loss=None)
TURNS = SimpleNamespace(losses=None, train_loss=None)
OWN = SimpleNamespace(advance=None)
BOTH = SimpleNamespace(advance=None, train_loss=None)


def way(task: Any, optim: dict[str, Any] | None = None, **fields: Any) -> str:
    rest = {"precision": "fp32", "accumulate": 1, "grouped": False}
    rest |= {key: fields.pop(key) for key in list(fields) if key in rest}
    values = {"task": {"name": "game"}, "optim": optim or {"name": "sgd", "weight_decay": 0.0}} | PLAIN | fields
    return choose_way(values, task, **rest)


def test_what_the_task_knows_decides() -> None:
    assert [way(task) for task in (LOSS, TURNS, OWN, BOTH)] == ["loss", "turns", "advance", "advance"]


@pytest.mark.parametrize(
    ("asked", "wanted"),
    [
        ({"optim": {"name": "adam", "weight_decay": 0.0}}, "optim=sgd"),
        ({"optim": {"name": "sgd", "weight_decay": 0.1}}, "optim.weight_decay=0"),
        ({"optim": {"name": "sgd", "layer_lr_mult": ["input.*=0.1"]}}, r"optim.layer_lr_mult=\[\]"),
        ({"optim": {"name": "sgd", "head_lr_mult": 10.0}}, "optim.head_lr_mult=1"),
        ({"clip_norm": 1.0}, "no clip_norm"),
        ({"freeze": "backbone"}, "freeze=null"),
        ({"precision": "bf16"}, "hardware.precision=fp32"),
        ({"accumulate": 2}, "accumulate=1"),
        ({"grouped": True}, "strategy=single"),
    ],
)
def test_more_than_a_plain_step_goes_by_the_gradient_or_not_at_all(asked: dict[str, Any], wanted: str) -> None:
    assert way(BOTH, **asked) == "loss"
    with pytest.raises(ConfigError, match=f"task 'game' makes its updates itself, which needs .*{wanted}"):
        way(OWN, **asked)


def test_networks_that_take_turns_are_compiled_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    graphs = []

    def backend(graph: torch.fx.GraphModule, inputs: Any) -> Any:
        graphs.append(graph)
        return graph.forward

    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=backend))
    pair = nn.ModuleDict({"generator": nn.Linear(2, 2), "discriminator": nn.Sequential(nn.Linear(2, 1), nn.Tanh())})
    names, given = list(pair.state_dict()), torch.ones(3, 2)
    with torch.no_grad():
        plain = pair["discriminator"](pair["generator"](given))
        assert compiled(pair, "turns") is pair and list(pair.state_dict()) == names
        found = pair["discriminator"](pair["generator"](given))
    assert torch.equal(found, plain) and len(graphs) == 2
    assert compiled(pair, "advance") is pair


@pytest.mark.parametrize(("asked", "wanted"), [({"accumulate": 2}, "accumulate=1"), ({"grouped": True}, "one process")])
def test_turns_are_taken_by_one_process_batch_by_batch(asked: dict[str, Any], wanted: str) -> None:
    with pytest.raises(ConfigError, match=f"task 'game' takes turns, which needs {wanted}"):
        way(TURNS, **asked)
    assert way(TURNS, clip_norm=1.0, precision="bf16") == "turns"

"""Which parameters decay."""

import pytest
import torch
from torch import nn

from d2lcli.optim.param_groups import param_groups
from d2lcli.optim.sgd import sgd


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 3)
        self.norm = nn.BatchNorm2d(2)
        self.act = nn.PReLU()
        self.table = nn.Embedding(5, 4)
        self.layer = nn.LayerNorm((2, 4))  # two axes, yet a norm
        self.head = nn.Linear(4, 5)
        self.head.weight = self.table.weight  # tied
        self.frozen = nn.Linear(2, 2).requires_grad_(False)
        self.scale = nn.Parameter(torch.ones(()))


def names(**options: bool) -> list[list[str]]:
    return [group["names"] for group in param_groups(Net(), 0.1, **options)]


def test_biases_and_norms_are_left_out() -> None:
    decayed, free = param_groups(Net(), 0.1)
    assert decayed["names"] == ["conv.weight", "table.weight"]
    assert free["names"] == [
        "scale", "conv.bias", "norm.weight", "norm.bias", "act.weight", "layer.weight", "layer.bias", "head.bias"
    ]  # fmt: skip
    assert (decayed["weight_decay"], free["weight_decay"]) == (0.1, 0.0)
    assert [tuple(param.shape) for param in decayed["params"]] == [(2, 1, 3, 3), (5, 4)]


def test_biases_or_norms_may_decay() -> None:
    assert names(decay_bias=True)[1] == ["norm.weight", "norm.bias", "layer.weight", "layer.bias"]
    assert names(decay_norm=True)[1] == ["scale", "conv.bias", "act.weight", "head.bias"]
    assert len(names(decay_bias=True, decay_norm=True)) == 1


def test_the_bias_is_not_decayed_in_a_step() -> None:
    layer = nn.Linear(1, 1)
    nn.init.ones_(layer.weight)
    nn.init.ones_(layer.bias)
    optimizer = sgd(param_groups(layer, 0.5), lr=0.1)
    layer.weight.grad, layer.bias.grad = torch.zeros(1, 1), torch.zeros(1)
    optimizer.step()
    assert layer.weight.item() == pytest.approx(0.95)
    assert layer.bias.item() == 1.0


def test_the_key_follows_the_optimizer() -> None:
    assert [group["l2"] for group in param_groups(nn.Linear(2, 2), 0.3, key="l2")] == [0.3, 0.0]


def test_a_model_without_trainable_parameters_is_refused() -> None:
    with pytest.raises(ValueError, match="no trainable parameters"):
        param_groups(nn.Flatten(), 0.1)


def test_layers_by_name_have_rates_of_their_own() -> None:
    """The last pattern that matches holds; the head's factor comes on top."""
    model = nn.Sequential()
    model.add_module("a", nn.Linear(2, 2))
    model.add_module("b", nn.Linear(2, 2))
    model.add_module("head", nn.Linear(2, 2))
    groups = param_groups(model, 0.1, head="head", head_lr_mult=10.0, layer_lr_mult=["*=0.5", "b.*=0.1", "head.bias=1"])
    found = {name: group.get("lr_mult", 1.0) for group in groups for name in group["names"]}
    expected = {"a.weight": 0.5, "a.bias": 0.5, "b.weight": 0.1, "b.bias": 0.1, "head.weight": 5.0, "head.bias": 10.0}
    assert found == pytest.approx(expected)
    assert [group["weight_decay"] for group in groups if "a.bias" in group["names"]] == [0.0]


@pytest.mark.parametrize("rule", ["b.*", "=0.1", "b.*=fast", "b.*=-1", "c.*=0.1"])
def test_a_bad_rule_for_layers_is_refused(rule: str) -> None:
    with pytest.raises(ValueError, match="layer_lr_mult"):
        param_groups(nn.Sequential(nn.Linear(2, 2)), 0.0, layer_lr_mult=[rule])

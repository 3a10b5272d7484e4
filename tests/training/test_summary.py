"""The summary against counts made by hand."""

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedParameter

from d2lcli.training.summary import Layer, summarize


class Shared(nn.Module):
    """One linear layer used twice, tied to another, and one that is never called."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(4, 4)
        self.tied = nn.Linear(4, 4)
        self.tied.weight = self.first.weight
        self.unused = nn.Linear(2, 3)
        self.scale = nn.Parameter(torch.ones(5))

    def forward(self, x: Tensor) -> Tensor:
        return self.tied(self.first(self.first(x))) * self.scale.sum()  # type: ignore[no-any-return]


def test_rows() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 5), nn.ReLU(inplace=True), nn.Dropout(0.5), nn.Linear(5, 2))
    every = {"receptive_field": math.inf}
    assert summarize(model, (3, 2, 2)).layers == (
        Layer("0", "Flatten", (1, 12), receptive_field=1, stride=1),  # a view
        Layer("1", "Linear", (1, 5), 65, 60, 20, **every),
        Layer("2", "ReLU", (1, 5), **every),  # in place: what it keeps is the output of the layer before
        Layer("3", "Dropout", (1, 5), 0, 0, 40, **every),  # its mask and its output
        Layer("4", "Linear", (1, 2), 12, 10, 8, **every),
    )


class Residual(nn.Module):
    """A block that computes between its parts: a sum, and a product with a weight of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4)
        self.mix = nn.Parameter(torch.ones(4, 3))

    def forward(self, x: Tensor) -> Tensor:
        return (x + self.linear(x)) @ self.mix


def test_what_a_block_computes_between_its_parts_is_its_own_row() -> None:
    rows = {row.name: row for row in summarize(nn.Sequential(Residual(), nn.ReLU()), (4,)).layers}
    assert (rows["0.linear"].multiply_adds, rows["0.linear"].activation_bytes) == (16, 0)
    assert (rows["0"].type, rows["0"].parameters, rows["0"].multiply_adds) == ("Residual", 12, 12)
    assert rows["0"].activation_bytes == 16  # the sum; the product is not kept, the relu keeps its own output
    assert rows["1"].activation_bytes == 12


def test_shared_and_unused_layers() -> None:
    summary = summarize(Shared(), (4,))
    rows = {row.name: row for row in summary.layers}
    assert summary.parameters == 16 + 4 + 4 + 9 + 5 == sum(p.numel() for p in Shared().parameters())
    assert (rows["first"].parameters, rows["tied"].parameters) == (20, 4)
    assert (rows["first"].multiply_adds, rows["tied"].multiply_adds) == (32, 16)
    assert rows["unused"].output_shape == ()
    assert rows["model"].parameters == 5


def test_a_subclass_takes_its_ancestor_s_formula() -> None:
    class Named(nn.Linear):
        pass

    row = summarize(Named(7, 3), (7,)).layers[0]
    assert (row.name, row.type, row.multiply_adds) == ("model", "Named", 21)


def test_the_model_is_untouched() -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Dropout(0.5)).train()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    state = torch.get_rng_state()
    summarize(model, (1, 8, 8))
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert all(module.training for module in model.modules())
    assert not any(module._forward_hooks for module in model.modules())
    assert torch.equal(torch.get_rng_state(), state)


def test_lazy_layers_are_definite_in_the_copy_only() -> None:
    model = nn.Sequential(nn.LazyConv2d(4, 3), nn.LazyBatchNorm2d(), nn.Flatten(), nn.LazyLinear(3))
    summary = summarize(model, (2, 5, 5))
    assert [(row.type, row.parameters) for row in summary.layers] == [
        ("Conv2d", 4 * 2 * 9 + 4),
        ("BatchNorm2d", 8),
        ("Flatten", 0),
        ("Linear", 4 * 9 * 3 + 3),
    ]
    assert isinstance(model[0].weight, UninitializedParameter)


def test_nothing_is_computed() -> None:
    """A terabyte of weights and activations: on the meta device neither is ever made."""
    with torch.device("meta"):
        model = nn.Linear(500_000, 500_000)
    assert summarize(model, (500_000,), batch_size=10_000).multiply_adds == 10_000 * 500_000**2


def test_outputs_that_are_not_one_tensor() -> None:
    row = summarize(nn.LSTM(3, 4, batch_first=True), (5, 3)).layers[0]
    assert row.output_shape == (1, 5, 4)
    assert row.parameters == 4 * (4 * 3 + 4 * 4 + 2 * 4)


def test_inputs_of_another_type() -> None:
    summary = summarize(nn.Embedding(10, 4), (6,), input_dtype=torch.long)
    assert summary.layers[0].output_shape == (1, 6, 4)


def test_the_type_of_the_model_is_used() -> None:
    summary = summarize(nn.Linear(4, 2).double(), (4,))
    assert (summary.activation_bytes, summary.float_bytes) == (16, 8)


def test_a_wrong_input_is_named() -> None:
    with pytest.raises(ValueError, match="cannot take an input of shape 1 x 8: "):
        summarize(nn.Linear(7, 3), (8,))

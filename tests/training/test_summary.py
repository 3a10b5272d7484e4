"""The summary against counts made by hand, and against what a real training step keeps."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedParameter

from d2lcli.training.summary import Layer, state_tensors, summarize


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


@pytest.mark.parametrize(
    ("layer", "shape", "out", "multiply_adds"),
    [
        (nn.Linear(7, 3), (7,), (3,), 21),
        (nn.Linear(7, 3), (5, 7), (5, 3), 105),
        (nn.Conv1d(4, 6, 3), (4, 10), (6, 8), 6 * 8 * 4 * 3),
        (nn.Conv2d(4, 6, 3, stride=2, padding=1), (4, 9, 9), (6, 5, 5), 6 * 25 * 4 * 9),
        (nn.Conv2d(4, 6, (3, 5), groups=2), (4, 9, 9), (6, 7, 5), 6 * 35 * 2 * 15),
        (nn.Conv2d(4, 4, 3, groups=4, dilation=2), (4, 9, 9), (4, 5, 5), 4 * 25 * 9),
        (nn.Conv3d(2, 3, 2), (2, 4, 4, 4), (3, 3, 3, 3), 3 * 27 * 2 * 8),
        (nn.ConvTranspose2d(4, 6, 4, stride=2, padding=1), (4, 5, 5), (6, 10, 10), 4 * 25 * 6 * 16),
        (nn.ConvTranspose2d(4, 6, 2, groups=2), (4, 5, 5), (6, 6, 6), 4 * 25 * 3 * 4),
        (nn.ReLU(), (7,), (7,), 0),
    ],
)
def test_multiply_adds(layer: nn.Module, shape: tuple[int, ...], out: tuple[int, ...], multiply_adds: int) -> None:
    summary = summarize(layer, shape)
    assert summary.layers[0].output_shape == (1, *out)
    assert summary.multiply_adds == multiply_adds
    assert summarize(layer, shape, batch_size=3).multiply_adds == 3 * multiply_adds


def test_rows() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 5), nn.ReLU(inplace=True), nn.Dropout(0.5), nn.Linear(5, 2))
    assert summarize(model, (3, 2, 2)).layers == (
        Layer("0", "Flatten", (1, 12), 0, 0, 0),  # a view
        Layer("1", "Linear", (1, 5), 65, 60, 20),
        Layer("2", "ReLU", (1, 5), 0, 0, 0),  # in place
        Layer("3", "Dropout", (1, 5), 0, 0, 20),
        Layer("4", "Linear", (1, 2), 12, 10, 8),
    )


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
    row = summarize(nn.LSTM(3, 4), (5, 3)).layers[0]
    assert row.output_shape == (1, 5, 4)
    assert row.parameters == 4 * (4 * 3 + 4 * 4 + 2 * 4)


def test_inputs_of_another_type() -> None:
    summary = summarize(nn.Embedding(10, 4), (6,), input_dtype=torch.long)
    assert summary.layers[0].output_shape == (1, 6, 4)


def test_the_type_of_the_model_is_used() -> None:
    summary = summarize(nn.Linear(4, 2).double(), (4,))
    assert summary.activation_bytes == 16
    assert summary.memory(batch_size=1).activations == 8  # in float32


def test_memory() -> None:
    model = nn.Sequential(nn.Linear(10, 20), nn.ReLU(), nn.Linear(20, 5))
    model[0].bias.requires_grad_(False)
    summary = summarize(model, (10,), batch_size=2)
    weights = 10 * 20 + 20 + 20 * 5 + 5
    full = summary.memory(batch_size=8, state_tensors=2)
    assert (full.parameters, full.casts) == (4 * weights, 0)
    assert (full.gradients, full.optimizer) == (4 * (weights - 20), 8 * (weights - 20))
    assert full.activations == 8 * (20 + 20 + 5) * 4
    assert full.total == full.parameters + full.gradients + full.optimizer + full.activations
    half = summary.memory(batch_size=8, precision="bf16")
    assert (half.parameters, half.casts, half.activations) == (4 * weights, 2 * weights, full.activations // 2)


def test_activations_are_at_least_what_the_backward_pass_keeps() -> None:
    """The tensors that autograd saves, but for inputs and weights, are outputs of layers."""
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Sigmoid(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(36, 5), nn.Tanh())
    inputs = torch.randn(8, 1, 8, 8)
    ignored = {t.untyped_storage().data_ptr() for t in (inputs, *model.parameters())}
    saved: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in ignored:
            saved[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        outputs = model(inputs)
    assert outputs.requires_grad
    estimate = summarize(model, (1, 8, 8)).memory(batch_size=8).activations
    assert 0.5 * estimate < sum(saved.values()) <= estimate


@pytest.mark.parametrize(
    ("kind", "options", "tensors"),
    [
        (torch.optim.SGD, {"lr": 0.1}, 0),
        (torch.optim.SGD, {"lr": 0.1, "momentum": 0.9}, 1),
        (torch.optim.RMSprop, {}, 1),
        (torch.optim.Adam, {}, 2),
        (torch.optim.AdamW, {"amsgrad": True}, 3),
    ],
)
def test_state_tensors(kind: type[torch.optim.Optimizer], options: dict[str, float], tensors: int) -> None:
    assert state_tensors(lambda parameters: kind(parameters, **options)) == tensors  # type: ignore[call-arg]


def test_a_wrong_input_is_named() -> None:
    with pytest.raises(ValueError, match="cannot take an input of shape 1 x 8: "):
        summarize(nn.Linear(7, 3), (8,))

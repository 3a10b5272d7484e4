"""Multiply-adds against counts made by hand, and against torch's counter of the operations that are run."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from d2lcli.training.multiply_adds import MULTIPLY_ADDS, multiply_adds
from d2lcli.training.summary import summarize


@pytest.mark.parametrize(
    ("layer", "shape", "out", "expected"),
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
        (nn.RNN(3, 4, batch_first=True), (5, 3), (5, 4), 5 * (3 * 4 + 4 * 4)),
        (nn.GRU(3, 4, batch_first=True), (5, 3), (5, 4), 5 * 3 * (3 * 4 + 4 * 4)),
        (nn.LSTM(3, 4, batch_first=True), (5, 3), (5, 4), 5 * 4 * (3 * 4 + 4 * 4)),
        (nn.LSTM(3, 4, 2, batch_first=True), (5, 3), (5, 4), 5 * 4 * (3 * 4 + 4 * 4 + 2 * 4 * 4)),
        (nn.GRU(3, 4, bidirectional=True, batch_first=True), (5, 3), (5, 8), 2 * 5 * 3 * (3 * 4 + 4 * 4)),
        (nn.LSTM(3, 4, proj_size=2, batch_first=True), (5, 3), (5, 2), 5 * (4 * (3 * 4 + 2 * 4) + 4 * 2)),
        (nn.GRUCell(3, 4), (3,), (4,), 3 * (3 * 4 + 4 * 4)),
        (nn.ReLU(), (7,), (7,), 0),
    ],
    ids=str,
)
def test_by_hand(layer: nn.Module, shape: tuple[int, ...], out: tuple[int, ...], expected: int) -> None:
    summary = summarize(layer, shape)
    assert summary.layers[0].output_shape == (1, *out)
    assert summary.multiply_adds == expected
    assert summarize(layer, shape, batch_size=3).multiply_adds == 3 * expected


class Called(nn.Module):
    """A layer of several inputs, all of them made from one: the first as it is, the others cut to `length` steps."""

    def __init__(self, layer: nn.Module, *lengths: int) -> None:
        super().__init__()
        self.layer, self.lengths = layer, lengths

    def forward(self, x: Tensor) -> Tensor:
        made = self.layer(x, *(x[:, :length] for length in self.lengths))
        return made[0] if isinstance(made, tuple) else made  # type: ignore[no-any-return]


def test_attention() -> None:
    """Four projections of n tokens, and two products over all pairs: 4 n d^2 + 2 n^2 d."""
    model = Called(nn.MultiheadAttention(8, 2, batch_first=True), 6, 6)
    assert summarize(model, (6, 8)).multiply_adds == 4 * 6 * 8**2 + 2 * 6**2 * 8
    cross = Called(nn.MultiheadAttention(8, 2, batch_first=True), 4, 4)
    assert summarize(cross, (6, 8), batch_size=3).multiply_adds == 3 * ((2 * 6 + 2 * 4) * 8**2 + 2 * 6 * 4 * 8)


def test_attention_s_formula_knows_widths_and_layouts() -> None:
    query, key, value = torch.empty(6, 3, 8), torch.empty(4, 3, 5), torch.empty(4, 3, 7)  # time first
    layer = nn.MultiheadAttention(8, 2, kdim=5, vdim=7, add_bias_kv=True, add_zero_attn=True)
    expected = 3 * (2 * 6 * 8**2 + 4 * (5 + 7) * 8 + 2 * 6 * (4 + 2) * 8)
    assert multiply_adds(layer, [query, key, value], query) == expected


def test_bilinear() -> None:
    """y_k = a A_k b, with A_k of 3 x 4: twelve for A_k b, three for the product with a."""
    left, right = torch.empty(2, 3), torch.empty(2, 4)
    layer = nn.Bilinear(3, 4, 5)
    assert multiply_adds(layer, [left, right], layer(left, right)) == 2 * 5 * (3 * 4 + 3)


def test_a_table_is_looked_up() -> None:
    assert summarize(nn.Embedding(10, 4), (6,), input_dtype=torch.long).multiply_adds == 0


class Functional(nn.Module):
    """Products without any layer: a functional linear map, and attention by torch's function."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(8, 8))

    def forward(self, x: Tensor) -> Tensor:
        x = functional.linear(x, self.weight)
        return functional.scaled_dot_product_attention(x, x, x)


def test_products_outside_of_known_layers_count() -> None:
    assert summarize(Functional(), (6, 8)).multiply_adds == 6 * 8**2 + 2 * 6**2 * 8


@pytest.mark.parametrize(
    ("model", "shape"),
    [
        (Called(nn.MultiheadAttention(8, 2, batch_first=True), 6, 6), (6, 8)),
        (Called(nn.MultiheadAttention(8, 4, batch_first=True), 3, 3), (6, 8)),
        (nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), (6, 8)),
        (nn.TransformerDecoderLayer(8, 2, 16, batch_first=True), (6, 8)),
        (nn.LSTM(3, 4, 2, bidirectional=True, batch_first=True), (5, 3)),
        (nn.GRU(3, 4, batch_first=True), (5, 3)),
        (nn.Sequential(nn.Conv2d(4, 8, 3, groups=2), nn.ConvTranspose2d(8, 4, 2, stride=2)), (4, 9, 9)),
    ],
    ids=lambda value: type(value).__name__,
)
def test_torch_s_counter_agrees(model: nn.Module, shape: tuple[int, ...]) -> None:
    """It counts the products that are run, two operations for each; on the meta device it sees all of them."""
    if isinstance(model, nn.TransformerDecoderLayer):
        model = Called(model, 4)
    counter = FlopCounterMode(display=False)
    with counter:
        model.to("meta").train()(torch.empty(2, *shape, device="meta"))
    assert summarize(model, shape, batch_size=2).multiply_adds == counter.get_total_flops() / 2


def test_a_subclass_takes_its_ancestor_s_formula() -> None:
    class Named(nn.Linear):
        pass

    row = summarize(Named(7, 3), (7,)).layers[0]
    assert (row.name, row.type, row.multiply_adds) == ("model", "Named", 21)
    assert Named not in MULTIPLY_ADDS

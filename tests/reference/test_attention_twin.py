"""Multi-head attention in step with a plain twin, softmax(Q K^T / sqrt(d)) V head by head, and beside torch's own."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from d2lcli.nn.attention import MultiHeadAttention, merge_heads, split_heads

DIM, HEADS = 12, 3
STEP = 0.1


def plain(state: dict[str, Tensor], queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """The heads one after the other, each from its own rows of the projections, by the formula."""
    size = DIM // HEADS
    zeros = torch.zeros(3 * DIM, dtype=queries.dtype)
    weight, bias = state["in_proj_weight"], state.get("in_proj_bias", zeros)
    heads = []
    for head in range(HEADS):
        projected = []
        for part, inputs in enumerate((queries, keys, values)):
            rows = slice(part * DIM + head * size, part * DIM + (head + 1) * size)
            projected.append(inputs @ weight[rows].T + bias[rows])
        q, k, v = projected
        scores = q @ k.transpose(1, 2) / math.sqrt(size)
        exponentials = scores.exp()
        heads.append(exponentials / exponentials.sum(-1, keepdim=True) @ v)
    return torch.cat(heads, -1) @ state["out_proj.weight"].T + state.get("out_proj.bias", zeros[:DIM])


def inputs_for(kind: str, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    def draw(tokens: int) -> Tensor:
        return torch.randn(2, tokens, DIM, generator=generator, dtype=torch.float64)

    x = draw(5)
    if kind == "self":
        return x, x, x
    keys = draw(4)
    return (x, keys, keys) if kind == "cross" else (x, keys, draw(4))


@pytest.mark.parametrize("kind", ["self", "cross", "three"])
@pytest.mark.parametrize("bias", [True, False])
def test_twenty_steps_with_the_twin(kind: str, bias: bool) -> None:
    torch.manual_seed(0)
    model = MultiHeadAttention(DIM, HEADS, bias=bias).double()
    twin = {name: value.clone().requires_grad_() for name, value in model.state_dict().items()}
    generator = torch.Generator().manual_seed(1)
    for _ in range(20):
        inputs = inputs_for(kind, generator)
        made, expected = model(*inputs), plain(twin, *inputs)
        torch.testing.assert_close(made, expected, rtol=1e-10, atol=1e-12)
        made.square().sum().backward()
        expected.square().sum().backward()
        with torch.no_grad():
            for parameter in (*model.parameters(), *twin.values()):
                assert parameter.grad is not None
                parameter -= STEP * parameter.grad / len(made[0])
                parameter.grad = None
    for name, value in model.state_dict().items():
        torch.testing.assert_close(value, twin[name].detach(), rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("bias", [True, False])
def test_torch_s_own(bias: bool) -> None:
    torch.manual_seed(0)
    theirs = nn.MultiheadAttention(DIM, HEADS, bias=bias, batch_first=True).double().eval()
    torch.manual_seed(0)
    ours = MultiHeadAttention(DIM, HEADS, bias=bias).double().eval()
    assert {name: value.shape for name, value in ours.state_dict().items()} == {
        name: value.shape for name, value in theirs.state_dict().items()
    }
    ours.load_state_dict(theirs.state_dict())
    generator = torch.Generator().manual_seed(1)
    for kind in ("self", "cross", "three"):
        inputs = inputs_for(kind, generator)
        torch.testing.assert_close(ours(*inputs), theirs(*inputs, need_weights=False)[0])


def test_initial_weights_have_the_bounds_of_torch_s() -> None:
    """Glorot's for the stacked projections, sqrt(6 / (d + 3 d)); the last one is an ordinary linear layer."""
    torch.manual_seed(0)
    layer = MultiHeadAttention(256, 4)
    for weight, bound in ((layer.in_proj_weight, (6 / 1024) ** 0.5), (layer.out_proj.weight, 256**-0.5)):
        assert 0.99 * bound < weight.abs().max().item() <= bound
    assert not layer.get_parameter("in_proj_bias").any() and not layer.out_proj.bias.any()


def test_the_heads_are_runs_of_columns() -> None:
    x = torch.randn(2, 5, DIM)
    heads = split_heads(x, HEADS)
    assert heads.shape == (2, HEADS, 5, DIM // HEADS)
    assert torch.equal(heads[:, 1], x[:, :, 4:8])
    assert torch.equal(merge_heads(heads), x)


def test_equal_keys_give_the_mean_of_the_values() -> None:
    layer = MultiHeadAttention(DIM, HEADS, bias=False)
    queries, values = torch.randn(2, 5, DIM), torch.randn(2, 4, DIM)
    made = layer(queries, torch.ones(2, 4, DIM), values)
    mean = layer.out_proj(values.mean(1) @ layer.in_proj_weight[2 * DIM :].T)
    torch.testing.assert_close(made, mean[:, None].expand(-1, 5, -1))


def test_self_attention_follows_a_permutation_of_the_tokens() -> None:
    layer, x, order = MultiHeadAttention(DIM, HEADS), torch.randn(2, 5, DIM), torch.tensor([3, 1, 4, 0, 2])
    shuffled = x[:, order]
    torch.testing.assert_close(layer(shuffled, shuffled, shuffled), layer(x, x, x)[:, order])


def test_dropout_zeroes_attention_weights_in_training_only() -> None:
    torch.manual_seed(0)
    layer = MultiHeadAttention(DIM, HEADS, bias=False, dropout=0.25)
    values = torch.ones(1, 2000, DIM)
    layer.eval()
    assert torch.equal(layer(values, values, values), layer(values, values, values))
    layer.train()
    nn.init.eye_(layer.out_proj.weight)
    # each output is a value times the share of 2,000 equal weights that are kept, divided by 3/4
    kept = layer(values, values, values) / (layer.in_proj_weight[2 * DIM :].sum(1))
    assert kept.mean().item() == pytest.approx(1, abs=0.01)
    assert kept[0, :, 0].std().item() == pytest.approx((0.25 / 0.75 / 2000) ** 0.5, rel=0.1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dim": 0, "num_heads": 1}, "dim must be at least 1, but it is 0"),
        ({"dim": 8, "num_heads": 0}, "num_heads must be at least 1, but it is 0"),
        ({"dim": 8, "num_heads": 3}, "num_heads must divide the width 8 of the attention, but it is 3"),
        ({"dim": 8, "num_heads": 2, "dropout": 1.5}, r"dropout must lie between 0 and 1, but it is 1\.5"),
    ],
)
def test_bad_arguments(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MultiHeadAttention(**options)

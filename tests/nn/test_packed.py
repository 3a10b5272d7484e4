"""Products with packed copies of weights beside the same products in double precision."""

import copy
import pickle

import pytest
import torch
from torch import Tensor, nn

from d2lcli.nn.attention import MultiHeadAttention
from d2lcli.nn.packed import Packed, PackedLinear

pytestmark = pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="this torch was built without oneDNN")


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def exact(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    product = x.double() @ weight.double().T
    return (product if bias is None else product + bias.double()).float()


@pytest.mark.parametrize("shape", [(1, 40), (4, 1, 40), (3, 33, 40), (0, 40), (40,)])
@pytest.mark.parametrize("bias", [True, False])
@torch.no_grad()
def test_a_packed_product_equals_one_in_double_precision(shape: tuple[int, ...], bias: bool) -> None:
    layer, x = nn.Linear(40, 70, bias), drawn(*shape)
    packed = PackedLinear(layer)
    assert packed.weight is layer.weight and packed.state_dict().keys() == layer.state_dict().keys()
    for _ in range(2):  # the copy is made, and used again
        torch.testing.assert_close(packed(x), exact(x, layer.weight, layer.bias), rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_inputs_that_do_not_lie_side_by_side() -> None:
    layer, x = nn.Linear(40, 70), drawn(40, 5, 2).permute(2, 1, 0)
    torch.testing.assert_close(PackedLinear(layer)(x), exact(x, layer.weight, layer.bias), rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_rows_of_one_weight_each_have_a_copy() -> None:
    product, weight, x = Packed(), drawn(60, 40), drawn(4, 40, seed=1)
    for rows in (weight, weight[:20], weight[20:], weight[:20]):
        torch.testing.assert_close(product(x, rows), exact(x, rows, None), rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_changed_weights_are_packed_again() -> None:
    layer, x = nn.Linear(40, 70), drawn(4, 40)
    packed = PackedLinear(layer)
    packed(x)
    layer.weight.mul_(2)
    torch.testing.assert_close(packed(x), exact(x, layer.weight, layer.bias), rtol=1e-5, atol=1e-5)
    packed.load_state_dict(nn.Linear(40, 70).state_dict())
    torch.testing.assert_close(packed(x), exact(x, layer.weight, layer.bias), rtol=1e-5, atol=1e-5)
    packed.double()
    assert packed(x.double()).dtype == torch.float64


def test_copies_of_a_layer_do_without_the_packed_weights() -> None:
    packed, x = PackedLinear(nn.Linear(40, 70)), drawn(4, 40)
    with torch.inference_mode():
        expected = packed(x)
    for other in (copy.deepcopy(packed), pickle.loads(pickle.dumps(packed))):  # noqa: S301 (written here)
        with torch.no_grad():
            assert torch.equal(other(x), expected)
            other.weight.zero_()
            assert not torch.equal(other(x), expected)
            assert torch.equal(packed(x), expected)


def test_gradients_are_as_without() -> None:
    layer, x = nn.Linear(40, 70), drawn(4, 40)
    packed = PackedLinear(layer)
    with torch.no_grad():
        packed(x)
    (found,) = torch.autograd.grad(packed(x).square().sum(), packed.weight)
    (expected,) = torch.autograd.grad(layer(x).square().sum(), layer.weight)
    assert torch.equal(found, expected)


@torch.no_grad()
def test_attention_by_packed_products_is_the_same() -> None:
    layer = MultiHeadAttention(24, 3).eval()
    nn.init.normal_(layer.in_proj_bias)
    x, memory = drawn(2, 5, 24), drawn(2, 7, 24, seed=1)

    def all_ways() -> list[Tensor]:
        stepwise, past = layer.extend(x[:, :3], layer.begin(2))
        found = layer.look_up(x, layer.project_memory(memory))
        return [layer(x, x, x), layer(x, memory, memory), stepwise, layer.extend(x[:, 3:], past)[0], found]

    expected = all_ways()
    layer.product = Packed()
    for found, wanted in zip(all_ways(), expected, strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)

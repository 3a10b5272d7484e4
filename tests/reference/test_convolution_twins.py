"""torch's convolutions and pooling, of which the networks are made, against loops over the definitions in NumPy.

n examples, c channels, h x w the size of a map, k the side of a kernel or window, p zeros on both sides together,
s the stride.
"""

import itertools
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import nn

Array = npt.NDArray[np.float64]
Pair = tuple[int, int]


def output_side(n: int, k: int, p: int, s: int) -> int:
    """d2l 7.3: floor((n - k + p + s) / s), with p the total padding, twice what torch calls padding."""
    return (n - k + p + s) // s


def cross_correlate(
    x: Array, weight: Array, bias: Array, stride: Pair = (1, 1), padding: Pair = (0, 0), groups: int = 1
) -> Array:
    """One product at a time: y[n,o,i,j] = b[o] + sum over c, u, v of x[n,c,i s + u,j s + v] weight[o,c,u,v].

    Output channel o sees the channels of its own group only; the padding is on each side, as in torch.
    """
    examples, channels, h, w = x.shape
    outputs, seen, kh, kw = weight.shape
    x = np.pad(x, ((0, 0), (0, 0), (padding[0], padding[0]), (padding[1], padding[1])))
    shape = (output_side(h, kh, 2 * padding[0], stride[0]), output_side(w, kw, 2 * padding[1], stride[1]))
    y = np.zeros((examples, outputs, *shape))
    for n, o, i, j in np.ndindex(*y.shape):
        first = o // (outputs // groups) * (channels // groups)
        total = bias[o]
        for c, u, v in np.ndindex(seen, kh, kw):
            total += x[n, first + c, i * stride[0] + u, j * stride[1] + v] * weight[o, c, u, v]
        y[n, o, i, j] = total
    return y


def pool(x: Array, window: Pair, stride: Pair, padding: Pair, kind: str) -> Array:
    """The maximum of each window, over which padding has no say, or the mean, in which padding counts as zeros."""
    around = ((0, 0), (0, 0), (padding[0], padding[0]), (padding[1], padding[1]))
    x = np.pad(x, around, constant_values=-np.inf if kind == "max" else 0)
    shape = [output_side(x.shape[2 + axis], window[axis], 0, stride[axis]) for axis in (0, 1)]
    y = np.zeros((*x.shape[:2], *shape))
    for n, c, i, j in np.ndindex(*y.shape):
        top, left = i * stride[0], j * stride[1]
        values = [x[n, c, top + u, left + v] for u, v in np.ndindex(*window)]
        y[n, c, i, j] = max(values) if kind == "max" else sum(values) / len(values)
    return y


def corr2d(x: Array, kernel: Array) -> Array:
    return cross_correlate(x[None, None], kernel[None, None], np.zeros(1))[0, 0]


def test_by_hand() -> None:
    """d2l 7.2.1: the figure's example."""
    x, kernel = np.arange(9.0).reshape(3, 3), np.arange(4.0).reshape(2, 2)
    assert corr2d(x, kernel).tolist() == [[19, 25], [37, 43]]


def test_several_channels_by_hand() -> None:
    """d2l 7.4: two input channels, then three kernels, each one more than the last."""
    x = np.stack([np.arange(9.0), np.arange(1.0, 10.0)]).reshape(1, 2, 3, 3)
    kernel = np.stack([np.arange(4.0), np.arange(1.0, 5.0)]).reshape(1, 2, 2, 2)
    kernels = np.concatenate([kernel, kernel + 1, kernel + 2])
    expected = [[[56, 72], [104, 120]], [[76, 100], [148, 172]], [[96, 128], [192, 224]]]
    assert cross_correlate(x, kernels, np.zeros(3))[0].tolist() == expected
    made = nn.functional.conv2d(torch.from_numpy(x), torch.from_numpy(kernels))
    assert made[0].tolist() == expected


def test_the_kernel_is_not_flipped() -> None:
    """A convolution in the sense of mathematics is the cross-correlation with the kernel turned by 180 degrees."""
    rng = np.random.default_rng(0)
    x, kernel = rng.normal(size=9), rng.normal(size=4)
    np.testing.assert_allclose(corr2d(x[None], kernel[None])[0], np.correlate(x, kernel, "valid"))
    np.testing.assert_allclose(corr2d(x[None], kernel[None, ::-1])[0], np.convolve(x, kernel, "valid"))


def test_edges_and_their_kernel_learned() -> None:
    """d2l 7.2.3 and 7.2.4: [1, -1] finds the edges of a white image with a black bar, and is found from them."""
    x = torch.ones(6, 8)
    x[:, 2:6] = 0
    edges = torch.from_numpy(corr2d(x.double().numpy(), np.array([[1.0, -1.0]]))).float()
    assert edges.tolist() == [[0, 1, 0, 0, 0, -1, 0]] * 6
    torch.manual_seed(0)
    layer = nn.Conv2d(1, 1, (1, 2), bias=False)
    for _ in range(50):
        loss = (layer(x[None, None]) - edges).square().sum()
        layer.zero_grad()
        loss.backward()
        with torch.no_grad():
            layer.weight -= 3e-2 * layer.weight.grad  # type: ignore[operator]
    torch.testing.assert_close(layer.weight.detach().flatten(), torch.tensor([1.0, -1.0]), rtol=0, atol=1e-3)


def test_output_sizes() -> None:
    """Over 1,000 combinations, odd total paddings among them: one row more at the bottom than at the top."""
    combinations = 0
    for n, k, p, s in itertools.product(range(1, 15), range(1, 8), range(7), range(1, 6)):
        if n + p < k:
            continue
        x = torch.empty(1, 1, n, n, device="meta")
        if p % 2:
            x = nn.functional.pad(x, (p // 2, p - p // 2) * 2)
        layer = nn.Conv2d(1, 1, k, stride=s, padding=0 if p % 2 else p // 2, device="meta")
        assert layer(x).shape[2:] == (output_side(n, k, p, s),) * 2
        combinations += 1
    assert combinations > 1000


@pytest.mark.parametrize("n", [7, 8, 28])
@pytest.mark.parametrize("k", [1, 3, 5, 7])
def test_same_padding(n: int, k: int) -> None:
    """d2l 7.3.1: a total of k - 1, for odd k floor(k / 2) on each side, keeps the side."""
    x = torch.empty(1, 1, n, n, device="meta")
    assert output_side(n, k, k - 1, 1) == n
    assert nn.Conv2d(1, 1, k, padding=k // 2, device="meta")(x).shape == x.shape
    assert nn.Conv2d(1, 1, k, padding="same", device="meta")(x).shape == x.shape


def test_sizes_of_the_book() -> None:
    """d2l 7.3: 8 x 8 with kernels 3 x 3 and 5 x 3 padded, with stride 2, and with strides 3 and 4."""
    x = torch.empty(1, 1, 8, 8, device="meta")
    with torch.device("meta"):
        assert nn.Conv2d(1, 1, 3, padding=1)(x).shape[2:] == (8, 8)
        assert nn.Conv2d(1, 1, (5, 3), padding=(2, 1))(x).shape[2:] == (8, 8)
        assert nn.Conv2d(1, 1, 3, padding=1, stride=2)(x).shape[2:] == (4, 4)
        assert nn.Conv2d(1, 1, (3, 5), padding=(0, 1), stride=(3, 4))(x).shape[2:] == (2, 2)


@pytest.mark.parametrize(
    ("c_in", "c_out", "kernel", "options"),
    [
        (1, 1, (1, 1), {}),
        (3, 4, (3, 3), {}),
        (3, 2, (2, 5), {"stride": (1, 2)}),
        (2, 3, (3, 3), {"stride": (2, 2), "padding": (1, 1)}),
        (2, 2, (5, 3), {"padding": (2, 1)}),
        (4, 6, (3, 3), {"groups": 2, "padding": (1, 1)}),
        (6, 6, (3, 2), {"groups": 6, "stride": (2, 1)}),
        (6, 9, (1, 1), {"groups": 3}),
    ],
)
def test_convolution(c_in: int, c_out: int, kernel: Pair, options: dict[str, Any]) -> None:
    torch.manual_seed(0)
    layer = nn.Conv2d(c_in, c_out, kernel, dtype=torch.float64, **options)
    groups = options.get("groups", 1)
    assert layer.weight.shape == (c_out, c_in // groups, *kernel)
    parameters = sum(parameter.numel() for parameter in layer.parameters())
    assert parameters == c_out * c_in * kernel[0] * kernel[1] // groups + c_out
    x = torch.randn(2, c_in, 7, 6, dtype=torch.float64)
    assert layer.bias is not None
    expected = cross_correlate(x.numpy(), layer.weight.detach().numpy(), layer.bias.detach().numpy(), **options)
    np.testing.assert_allclose(layer(x).detach().numpy(), expected, rtol=1e-10, atol=1e-12)


def test_a_1_x_1_convolution_is_a_linear_layer_at_each_pixel() -> None:
    """d2l 7.4.3: the weight as a matrix (c_out, c_in) times the pixels as columns (c_in, h w)."""
    layer = nn.Conv2d(3, 2, 1, dtype=torch.float64)
    assert layer.bias is not None
    x = torch.randn(3, 4, 5, dtype=torch.float64)
    product = layer.weight.flatten(1) @ x.flatten(1) + layer.bias[:, None]
    torch.testing.assert_close(layer(x[None])[0], product.reshape(2, 4, 5))
    assert sum(parameter.numel() for parameter in layer.parameters()) == 2 * 3 + 2


def test_pooling_by_hand() -> None:
    """d2l 7.5: the figure's example, and the mean of 0 to 15."""
    x = np.arange(9.0).reshape(1, 1, 3, 3)
    assert pool(x, (2, 2), (1, 1), (0, 0), "max")[0, 0].tolist() == [[4, 5], [7, 8]]
    assert pool(x, (2, 2), (1, 1), (0, 0), "avg")[0, 0].tolist() == [[2, 3], [5, 6]]
    assert nn.AdaptiveAvgPool2d(1)(torch.arange(16.0).reshape(1, 1, 4, 4)).item() == 7.5


@pytest.mark.parametrize("kind", ["max", "avg"])
@pytest.mark.parametrize(
    ("window", "stride", "padding"),
    [
        ((2, 2), (2, 2), (0, 0)),
        ((3, 3), (2, 2), (1, 1)),
        ((2, 3), (2, 3), (0, 1)),
        ((3, 3), (1, 1), (1, 1)),
        ((1, 4), (3, 2), (0, 2)),
    ],
)
def test_pooling(kind: str, window: Pair, stride: Pair, padding: Pair) -> None:
    layer = (nn.MaxPool2d if kind == "max" else nn.AvgPool2d)(window, stride=stride, padding=padding)
    x = torch.randn(2, 3, 7, 8, dtype=torch.float64) - 2  # mostly negative, so that a zero in the padding would show
    np.testing.assert_allclose(layer(x).numpy(), pool(x.numpy(), window, stride, padding, kind), rtol=1e-12)


def test_global_average_pooling() -> None:
    x = torch.randn(2, 3, 5, 4, dtype=torch.float64)
    expected = [[sum(x[n, c].flatten().tolist()) / 20 for c in range(3)] for n in range(2)]
    np.testing.assert_allclose(nn.AdaptiveAvgPool2d(1)(x).flatten(1).numpy(), expected)

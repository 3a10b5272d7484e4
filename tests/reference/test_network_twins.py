"""LeNet and the residual networks against slow twins in NumPy, written as loops over the definitions.

n examples, c channels, h x w the size of a map, k the side of a kernel or window.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import nn

from d2lcli.models.lenet import lenet
from d2lcli.models.resnet import BasicBlock, Bottleneck, resnet18

Array = npt.NDArray[np.float64]
Tensors = dict[str, Array]


def cross_correlate(x: Array, weight: Array, bias: Array | None = None, stride: int = 1, padding: int = 0) -> Array:
    """y[n,o,i,j] = b[o] + sum over c, a, b of x[n, c, s i + a, s j + b] weight[o,c,a,b]; the kernel is not flipped."""
    x = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    k = weight.shape[-1]
    height, width = ((side - k) // stride + 1 for side in x.shape[2:])
    y = np.zeros((len(x), len(weight), height, width))
    for i in range(height):
        for j in range(width):
            window = x[:, :, i * stride : i * stride + k, j * stride : j * stride + k]
            y[:, :, i, j] = np.einsum("ncab,ocab->no", window, weight)
    return y if bias is None else y + bias[:, None, None]


def pool(x: Array, k: int, stride: int, padding: int, kind: str) -> Array:
    """The maximum or the mean of each k x k window; padding counts as minus infinity, so it is for maxima only."""
    x = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)), constant_values=-np.inf if padding else 0)
    height, width = ((side - k) // stride + 1 for side in x.shape[2:])
    y = np.zeros((*x.shape[:2], height, width))
    for i in range(height):
        for j in range(width):
            window = x[:, :, i * stride : i * stride + k, j * stride : j * stride + k]
            y[:, :, i, j] = window.max((2, 3)) if kind == "max" else window.mean((2, 3))
    return y


def batch_norm(x: Array, state: Tensors, name: str, training: bool, eps: float = 1e-5) -> Array:
    """gamma (x - mu) / sqrt(var + eps) + beta for each channel; the running values move a tenth of the way."""
    gamma, beta = state[f"{name}.weight"], state[f"{name}.bias"]
    if training:
        mean, var = x.mean((0, 2, 3)), x.var((0, 2, 3))
        n = x.size / x.shape[1]
        state[f"{name}.running_mean"] += 0.1 * (mean - state[f"{name}.running_mean"])
        state[f"{name}.running_var"] += 0.1 * (
            var * n / (n - 1) - state[f"{name}.running_var"]
        )  # unbiased, as in torch
    else:
        mean, var = state[f"{name}.running_mean"], state[f"{name}.running_var"]
    scale = gamma / np.sqrt(var + eps)
    return (x - mean[:, None, None]) * scale[:, None, None] + beta[:, None, None]


def relu(x: Array) -> Array:
    return np.maximum(x, 0)


def conv(x: Array, state: Tensors, name: str, stride: int = 1, padding: int = 0) -> Array:
    return cross_correlate(x, state[f"{name}.weight"], state.get(f"{name}.bias"), stride, padding)


def residual_block(x: Array, state: Tensors, prefix: str, stride: int, training: bool) -> Array:
    """relu(g(x) + shortcut(x)), with two convolutions in g, or three where the state has a third."""

    def normed(y: Array, index: int) -> Array:
        return batch_norm(y, state, f"{prefix}bn{index}", training)

    if f"{prefix}conv3.weight" in state:
        y = relu(normed(conv(x, state, f"{prefix}conv1"), 1))
        y = relu(normed(conv(y, state, f"{prefix}conv2", stride, 1), 2))
        y = normed(conv(y, state, f"{prefix}conv3"), 3)
    else:
        y = relu(normed(conv(x, state, f"{prefix}conv1", stride, 1), 1))
        y = normed(conv(y, state, f"{prefix}conv2", 1, 1), 2)
    if f"{prefix}downsample.0.weight" in state:
        x = conv(x, state, f"{prefix}downsample.0", stride)
    if f"{prefix}downsample.1.weight" in state:
        x = batch_norm(x, state, f"{prefix}downsample.1", training)
    return relu(y + x)


def state_of(model: nn.Module) -> Tensors:
    return {name: value.detach().numpy().copy() for name, value in model.state_dict().items()}


def disturb(model: nn.Module) -> nn.Module:
    """Gammas, betas and running values other than 1 and 0, so that none of them can be forgotten."""
    torch.manual_seed(0)
    for name, value in model.state_dict().items():
        if value.dim() == 1:
            value.uniform_(0.5, 1.5) if "var" in name else value.normal_(0.5, 0.3)
    return model.double()


def test_cross_correlation_by_hand() -> None:
    """d2l 7.2: the figure's example."""
    x, kernel = np.arange(9.0).reshape(1, 1, 3, 3), np.arange(4.0).reshape(1, 1, 2, 2)
    assert cross_correlate(x, kernel).tolist() == [[[[19, 25], [37, 43]]]]


def test_pooling_by_hand() -> None:
    """d2l 7.5: the figure's example."""
    x = np.arange(9.0).reshape(1, 1, 3, 3)
    assert pool(x, 2, 1, 0, "max").tolist() == [[[[4, 5], [7, 8]]]]
    assert pool(x, 2, 1, 0, "avg").tolist() == [[[[2, 3], [5, 6]]]]


@pytest.mark.parametrize("modern", [False, True])
@pytest.mark.parametrize("padding", [0, 2])
def test_lenet(modern: bool, padding: int) -> None:
    options: dict[str, Any] = {"activation": "relu", "pool": "max"} if modern else {}
    model = disturb(lenet(in_channels=2, num_classes=3, image_size=17, padding=padding, **options))
    x = np.random.default_rng(0).normal(size=(2, 2, 17, 17))
    state, kind = state_of(model), "max" if modern else "avg"

    def phi(y: Array) -> Array:
        return relu(y) if modern else 1 / (1 + np.exp(-y))

    y = pool(phi(conv(x, state, "features.0", 1, padding)), 2, 2, 0, kind)
    y = pool(phi(conv(y, state, "features.3")), 2, 2, 0, kind).reshape(2, -1)
    y = phi(y @ state["classifier.1.weight"].T + state["classifier.1.bias"])
    y = phi(y @ state["classifier.3.weight"].T + state["classifier.3.bias"])
    y = y @ state["classifier.5.weight"].T + state["classifier.5.bias"]
    np.testing.assert_allclose(model(torch.from_numpy(x)).detach().numpy(), y, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("variant", ["torchvision", "d2l"])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("kind", [BasicBlock, Bottleneck])
def test_residual_block(kind: type[BasicBlock] | type[Bottleneck], stride: int, variant: Any) -> None:
    """In step: three training batches, whose running values are compared each time, then an evaluation with them."""
    block = disturb(kind(4, 3, stride, variant))
    state = state_of(block)
    rng = np.random.default_rng(0)
    for training in (True, True, True, False):
        x = rng.normal(size=(3, 4, 5, 5))
        expected = residual_block(x, state, "", stride, training)
        made = block.train(training)(torch.from_numpy(x)).detach().numpy()
        np.testing.assert_allclose(made, expected, rtol=1e-10, atol=1e-12)
        for name, value in state_of(block).items():
            if "running" in name:
                np.testing.assert_allclose(value, state[name], rtol=1e-12)


@pytest.mark.parametrize("variant", ["torchvision", "d2l"])
def test_resnet18(variant: Any) -> None:
    model = disturb(resnet18(in_channels=2, num_classes=3, variant=variant)).train()
    state = state_of(model)
    x = np.random.default_rng(0).normal(size=(2, 2, 33, 33))

    y = relu(batch_norm(conv(x, state, "conv1", 2, 3), state, "bn1", training=True))
    y = pool(y, 3, 2, 1, "max")
    for stage, stride in (("layer1", 1), ("layer2", 2), ("layer3", 2), ("layer4", 2)):
        y = residual_block(y, state, f"{stage}.0.", stride, training=True)
        y = residual_block(y, state, f"{stage}.1.", 1, training=True)
    y = y.mean((2, 3)) @ state["fc.weight"].T + state["fc.bias"]
    np.testing.assert_allclose(model(torch.from_numpy(x)).detach().numpy(), y, rtol=1e-8, atol=1e-10)

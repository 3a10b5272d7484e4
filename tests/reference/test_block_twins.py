"""Squeeze-excitation, ResNeXt blocks, dense blocks, DenseNet and RegNet against slow twins in NumPy, step by step."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from test_network_twins import Array, Tensors, batch_norm, conv, cross_correlate, disturb, pool, relu, state_of
from torch import nn

from d2lcli.models.densenet import DenseBlock, Transition, densenet, densenet121
from d2lcli.models.regnet import anynet, regnetx32, regnety
from d2lcli.models.resnet import Bottleneck
from d2lcli.nn.resnext import ResNeXtBlock
from d2lcli.nn.squeeze_excitation import SqueezeExcitation

Twin = Callable[[Array, Tensors, bool], Array]


def grouped(x: Array, state: Tensors, name: str, stride: int = 1) -> Array:
    """A 3 x 3 convolution for each group, side by side; how many there are shows in the weight."""
    weight, bias = state[f"{name}.weight"], state.get(f"{name}.bias")
    groups = x.shape[1] // weight.shape[1]
    parts = zip(np.split(x, groups, 1), np.split(weight, groups), strict=True)
    y = np.concatenate([cross_correlate(part, kernel, None, stride, 1) for part, kernel in parts], 1)
    return y if bias is None else y + bias[:, None, None]


def squeeze_excitation(x: Array, state: Tensors, prefix: str) -> Array:
    """The mean of each channel through two linear layers: a number between 0 and 1 that scales the channel."""
    hidden = relu(x.mean((2, 3)) @ state[f"{prefix}fc1.weight"][:, :, 0, 0].T + state[f"{prefix}fc1.bias"])
    logits = hidden @ state[f"{prefix}fc2.weight"][:, :, 0, 0].T + state[f"{prefix}fc2.bias"]
    return x / (1 + np.exp(-logits))[:, :, None, None]


def resnext_block(x: Array, state: Tensors, prefix: str, stride: int, training: bool) -> Array:
    def normed(y: Array, name: str) -> Array:
        return batch_norm(y, state, f"{prefix}{name}.1", training)

    y = relu(normed(conv(x, state, f"{prefix}f.a.0"), "f.a"))
    y = relu(normed(grouped(y, state, f"{prefix}f.b.0", stride), "f.b"))
    if f"{prefix}f.se.fc1.weight" in state:
        y = squeeze_excitation(y, state, f"{prefix}f.se.")
    y = normed(conv(y, state, f"{prefix}f.c.0"), "f.c")
    if f"{prefix}proj.0.weight" in state:
        x = normed(conv(x, state, f"{prefix}proj.0", stride), "proj")
    return relu(y + x)


def grouped_bottleneck(x: Array, state: Tensors, training: bool) -> Array:
    y = relu(batch_norm(conv(x, state, "conv1"), state, "bn1", training))
    y = relu(batch_norm(grouped(y, state, "conv2", 2), state, "bn2", training))
    y = batch_norm(conv(y, state, "conv3"), state, "bn3", training)
    return relu(y + batch_norm(conv(x, state, "downsample.0", 2), state, "downsample.1", training))


def dense_block(x: Array, state: Tensors, prefix: str, training: bool) -> Array:
    """Every layer sees the maps of all before: kept here as a list, put together anew for each layer."""
    maps, i = [x], 1
    while f"{prefix}denselayer{i}.norm1.weight" in state:
        name = f"{prefix}denselayer{i}."
        y = relu(batch_norm(np.concatenate(maps, 1), state, f"{name}norm1", training))
        if f"{name}conv2.weight" in state:
            y = conv(y, state, f"{name}conv1")
            y = conv(relu(batch_norm(y, state, f"{name}norm2", training)), state, f"{name}conv2", 1, 1)
        else:
            y = conv(y, state, f"{name}conv1", 1, 1)
        maps.append(y)
        i += 1
    return np.concatenate(maps, 1)


def transition(x: Array, state: Tensors, prefix: str, training: bool) -> Array:
    y = conv(relu(batch_norm(x, state, f"{prefix}norm", training)), state, f"{prefix}conv")
    return pool(y, 2, 2, 0, "avg")


def dense_network(x: Array, state: Tensors, training: bool) -> Array:
    y = relu(batch_norm(conv(x, state, "features.conv0", 2, 3), state, "features.norm0", training))
    y, i = pool(y, 3, 2, 1, "max"), 1
    while f"features.denseblock{i}.denselayer1.norm1.weight" in state:
        y = dense_block(y, state, f"features.denseblock{i}.", training)
        if f"features.transition{i}.norm.weight" in state:
            y = transition(y, state, f"features.transition{i}.", training)
        i += 1
    y = relu(batch_norm(y, state, f"features.norm{i}", training)).mean((2, 3))
    return y @ state["classifier.weight"].T + state["classifier.bias"]


def regular_network(x: Array, state: Tensors, training: bool) -> Array:
    y = relu(batch_norm(conv(x, state, "stem.0", 2, 1), state, "stem.1", training))
    names = dict.fromkeys(name.partition(".f.")[0] for name in state if ".f." in name)
    for name in names:
        y = resnext_block(y, state, f"{name}.", 2 if name.endswith("-0") else 1, training)
    return y.mean((2, 3)) @ state["fc.weight"].T + state["fc.bias"]


def in_step(module: nn.Module, twin: Twin, shape: tuple[int, ...]) -> None:
    """Three training batches, whose running values are compared each time, then an evaluation with them."""
    state = state_of(disturb(module))
    rng = np.random.default_rng(0)
    for training in (True, True, True, False):
        x = rng.normal(size=shape)
        expected = twin(x, state, training)
        made = module.train(training)(torch.from_numpy(x)).detach().numpy()
        np.testing.assert_allclose(made, expected, rtol=1e-8, atol=1e-10)
        for name, value in state_of(module).items():
            if "running" in name:
                np.testing.assert_allclose(value, state[name], rtol=1e-9, atol=1e-12)


def test_squeeze_excitation() -> None:
    in_step(SqueezeExcitation(6, 2), lambda x, state, training: squeeze_excitation(x, state, ""), (3, 6, 4, 5))


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize(
    "options",
    [
        {"groups": 1},
        {"groups": 4},
        {"group_width": 2, "bottleneck": 0.5},
        {"group_width": 4, "squeezed": 3},
        {"group_width": 8, "bias": True},
    ],
)
@pytest.mark.parametrize("in_channels", [8, 6])
def test_resnext_block(in_channels: int, options: dict[str, Any], stride: int) -> None:
    block = ResNeXtBlock(in_channels, 8, stride, **options)
    in_step(block, lambda x, state, training: resnext_block(x, state, "", stride, training), (3, in_channels, 5, 5))


def test_grouped_bottleneck() -> None:
    in_step(Bottleneck(6, 2, 2, groups=2, width_per_group=64), grouped_bottleneck, (3, 6, 5, 5))


@pytest.mark.parametrize("bottleneck", [0, 4])
@pytest.mark.parametrize("bias", [False, True])
def test_dense_block(bottleneck: int, bias: bool) -> None:
    block = DenseBlock(3, 4, 2, bottleneck, bias)
    in_step(block, lambda x, state, training: dense_block(x, state, "", training), (3, 4, 5, 5))


@pytest.mark.parametrize("bias", [False, True])
def test_transition(bias: bool) -> None:
    in_step(Transition(5, 3, bias), lambda x, state, training: transition(x, state, "", training), (3, 5, 5, 4))


def test_the_book_s_densenet() -> None:
    model = densenet(in_channels=2, num_classes=3, arch=(2, 1, 3), growth_rate=4, stem_channels=6)
    in_step(model, dense_network, (2, 2, 33, 33))


def test_densenet121() -> None:
    """One batch in evaluation: the twin of 120 convolutions is slow."""
    model = disturb(densenet121(in_channels=2, num_classes=3)).eval()
    x = np.random.default_rng(0).normal(size=(1, 2, 29, 29))
    expected = dense_network(x, state_of(model), training=False)
    np.testing.assert_allclose(model(torch.from_numpy(x)).detach().numpy(), expected, rtol=1e-7)


@pytest.mark.parametrize(
    ("build", "options"),
    [
        (regnetx32, {}),
        (regnety, {"depth": 6, "wa": 40.0}),
        (anynet, {"depths": [1, 2], "widths": [8, 12], "bottlenecks": [0.5, 1.0], "group_widths": [2, 3]}),
    ],
)
def test_regular_networks(build: Callable[..., nn.Module], options: dict[str, Any]) -> None:
    in_step(build(in_channels=1, num_classes=3, **options), regular_network, (2, 1, 17, 17))

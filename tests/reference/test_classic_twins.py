"""AlexNet's normalisation, the blocks of NiN and VGG, and GoogLeNet against slow twins in NumPy.

n examples, c channels, h x w the size of a map, k the side of a window.
"""

from typing import Any

import numpy as np
import pytest
import torch
from test_network_twins import Array, Tensors, batch_norm, conv, cross_correlate, disturb, pool, relu, state_of
from torch import nn

from d2lcli.models.alexnet import alexnet_2012
from d2lcli.models.googlenet import Inception, googlenet, googlenet_tv
from d2lcli.models.lenet import lenet
from d2lcli.models.nin import nin, nin_block
from d2lcli.models.vgg import vgg11

BLOCKS = ("3a", "3b", "pool", "4a", "4b", "4c", "4d", "4e", "last pool", "5a", "5b")  # after the stem, in order


def linear(x: Array, state: Tensors, name: str) -> Array:
    return x @ state[f"{name}.weight"].T + state[f"{name}.bias"]


def open_pool(x: Array, k: int, stride: int) -> Array:
    """The maximum of each window; the last window may reach over the edge."""
    more = [-(-(side - k) // stride) * stride + k - side for side in x.shape[2:]]
    x = np.pad(x, ((0, 0), (0, 0), (0, more[0]), (0, more[1])), constant_values=-np.inf)
    return pool(x, k, stride, 0, "max")


def adaptive_mean(x: Array, sides: int) -> Array:
    """The means of `sides` x `sides` windows, from floor(i s / sides) to ceil((i + 1) s / sides)."""
    y = np.zeros((*x.shape[:2], sides, sides))
    for i in range(sides):
        for j in range(sides):
            (top, bottom), (left, right) = (
                (k * side // sides, -(-(k + 1) * side // sides)) for k, side in zip((i, j), x.shape[2:], strict=True)
            )
            y[:, :, i, j] = x[:, :, top:bottom, left:right].mean((2, 3))
    return y


def unit(x: Array, state: Tensors, name: str, stride: int = 1, padding: int = 0, training: bool = True) -> Array:
    """A convolution, batch norm where the state has one, and a ReLU."""
    y = conv(x, state, f"{name}.conv", stride, padding)
    if f"{name}.bn.weight" in state:
        y = batch_norm(y, state, f"{name}.bn", training, eps=1e-3)
    return relu(y)


def inception(x: Array, state: Tensors, prefix: str, training: bool = True) -> Array:
    wide = state[f"{prefix}branch3.1.conv.weight"].shape[-1]
    first = unit(x, state, f"{prefix}branch1", training=training)
    second = unit(x, state, f"{prefix}branch2.0", training=training)
    second = unit(second, state, f"{prefix}branch2.1", padding=1, training=training)
    third = unit(x, state, f"{prefix}branch3.0", training=training)
    third = unit(third, state, f"{prefix}branch3.1", padding=wide // 2, training=training)
    fourth = unit(pool(x, 3, 1, 1, "max"), state, f"{prefix}branch4.1", training=training)
    return np.concatenate([first, second, third, fourth], axis=1)


def head(x: Array, state: Tensors, name: str) -> Array:
    x = unit(adaptive_mean(x, 4), state, f"{name}.conv").reshape(len(x), -1)
    return linear(relu(linear(x, state, f"{name}.fc1")), state, f"{name}.fc2")


def without_dropout(model: nn.Module) -> nn.Module:
    for layer in model.modules():
        if isinstance(layer, nn.Dropout):
            layer.p = 0.0
    return model


def run(model: nn.Module, x: Array) -> Array:
    made: Array = model(torch.from_numpy(x)).detach().numpy()
    return made


def test_adaptive_mean_by_hand() -> None:
    x = np.arange(5.0)[None, None, None].repeat(5, axis=2)
    assert adaptive_mean(x, 4)[0, 0, 0].tolist() == [0.5, 1.5, 2.5, 3.5]
    assert adaptive_mean(x, 1)[0, 0].tolist() == [[2.0]]


def test_open_pool_by_hand() -> None:
    assert open_pool(np.arange(16.0).reshape(1, 1, 4, 4), 3, 2)[0, 0].tolist() == [[10, 11], [14, 15]]


def test_alexnet_s_normalisation_and_towers() -> None:
    """Krizhevsky et al. (2012), section 3.3: b_i = a_i / (k + alpha sum of a_j^2)^beta, j from i - 2 to i + 2."""
    model = disturb(alexnet_2012(in_channels=2, num_classes=3, image_size=63))
    first, norm, second = (model.get_submodule(f"features.{index}") for index in (0, 2, 4))
    x = np.random.default_rng(0).normal(size=(2, 2, 27, 27)) * 100
    state = state_of(model)

    a = relu(conv(x, state, "features.0", 4, 2))
    b = np.zeros_like(a)
    for i in range(96):
        total = (a[:, max(0, i - 2) : i + 3] ** 2).sum(1)
        b[:, i] = a[:, i] / (2 + 1e-4 * total) ** 0.75
    made = norm(first(torch.from_numpy(x)).relu())
    np.testing.assert_allclose(made.detach().numpy(), b, rtol=1e-10, atol=1e-12)

    weight, bias = state["features.4.weight"], state["features.4.bias"]
    towers = [
        cross_correlate(
            b[:, 48 * g : 48 * g + 48], weight[128 * g : 128 * g + 128], bias[128 * g : 128 * g + 128], 1, 2
        )
        for g in (0, 1)
    ]
    np.testing.assert_allclose(second(made).detach().numpy(), np.concatenate(towers, 1), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("final_relu", [False, True])
def test_nin_block(final_relu: bool) -> None:
    """The 1 x 1 convolutions are linear layers at each place."""
    block = disturb(nin_block(3, 5, 3, stride=2, padding=1, final_relu=final_relu))
    state, x = state_of(block), np.random.default_rng(0).normal(size=(2, 3, 7, 6))
    y = relu(conv(x, state, "0", 2, 1)).transpose(0, 2, 3, 1)
    for name in ("2", "4"):
        y = y @ state[f"{name}.weight"][:, :, 0, 0].T + state[f"{name}.bias"]
        y = relu(y) if name == "2" or final_relu else y
    np.testing.assert_allclose(run(block, x), y.transpose(0, 3, 1, 2), rtol=1e-10, atol=1e-12)


def test_nin() -> None:
    model = disturb(nin(in_channels=2, num_classes=3, final_relu=False)).eval()
    state, x = state_of(model), np.random.default_rng(0).normal(size=(2, 2, 99, 99))

    def block(y: Array, name: str, stride: int = 1, padding: int = 0) -> Array:
        y = relu(conv(y, state, f"{name}.0", stride, padding))
        return conv(relu(conv(y, state, f"{name}.2")), state, f"{name}.4")

    y = pool(relu(block(x, "block1", stride=4)), 3, 2, 0, "max")
    y = pool(relu(block(y, "block2", padding=2)), 3, 2, 0, "max")
    y = pool(relu(block(y, "block3", padding=1)), 3, 2, 0, "max")
    y = block(y, "block4", padding=1).mean((2, 3))
    np.testing.assert_allclose(run(model, x), y, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("normed", [False, True])
def test_vgg(normed: bool) -> None:
    model = disturb(vgg11(in_channels=2, num_classes=3, image_size=65, width=0.05, batch_norm=normed)).eval()
    state, y = state_of(model), np.random.default_rng(0).normal(size=(2, 2, 65, 65))
    index = 0
    for depth in (1, 1, 2, 2, 2):
        for _ in range(depth):
            y = conv(y, state, f"features.{index}", 1, 1)
            y = batch_norm(y, state, f"features.{index + 1}", False) if normed else y
            y, index = relu(y), index + (3 if normed else 2)
        y, index = pool(y, 2, 2, 0, "max"), index + 1
    y = relu(linear(y.reshape(2, -1), state, "classifier.0"))
    y = linear(relu(linear(y, state, "classifier.3")), state, "classifier.6")
    x = np.random.default_rng(0).normal(size=(2, 2, 65, 65))
    np.testing.assert_allclose(run(model, x), y, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("variant", ["torchvision", "d2l"])
def test_inception_block(variant: Any) -> None:
    """In step: three training batches, whose running values are compared each time, then an evaluation with them."""
    block = disturb(Inception(4, 3, (2, 5), (3, 2), 4, variant))
    state = state_of(block)
    rng = np.random.default_rng(0)
    for training in (True, True, True, False):
        x = rng.normal(size=(3, 4, 6, 5))
        expected = inception(x, state, "", training)
        np.testing.assert_allclose(run(block.train(training), x), expected, rtol=1e-10, atol=1e-12)
        for name, value in state_of(block).items():
            if "running" in name:
                np.testing.assert_allclose(value, state[name], rtol=1e-12)


@pytest.mark.parametrize("build", [googlenet, googlenet_tv])
def test_googlenet_with_its_heads(build: Any) -> None:
    model = without_dropout(disturb(build(in_channels=2, num_classes=3, aux=True))).train()
    state, x = state_of(model), np.random.default_rng(0).normal(size=(2, 2, 65, 65))

    def halve(y: Array, last: bool = False) -> Array:
        if build is googlenet:
            return pool(y, 3, 2, 1, "max")
        return open_pool(y, 2 if last else 3, 2)

    y = halve(unit(x, state, "conv1", 2, 3))
    y = halve(unit(unit(y, state, "conv2"), state, "conv3", padding=1))
    heads: list[Array] = []
    for name in BLOCKS:
        y = halve(y, name == "last pool") if "pool" in name else inception(y, state, f"inception{name}.")
        if name in ("4a", "4d"):
            heads.append(head(y, state, f"aux{len(heads) + 1}"))
    logits = linear(y.mean((2, 3)), state, "fc")
    for made, expected in zip(model(torch.from_numpy(x)), [logits, *heads], strict=True):
        np.testing.assert_allclose(made.detach().numpy(), expected, rtol=1e-7, atol=1e-9)


def test_lenet_with_batch_norm() -> None:
    model = disturb(lenet(in_channels=2, num_classes=3, image_size=17, batch_norm=True)).train()
    state, x = state_of(model), np.random.default_rng(0).normal(size=(5, 2, 17, 17))

    def normed(y: Array, name: str) -> Array:
        shape = y.shape
        y = batch_norm(y.reshape(*shape, 1, 1) if y.ndim == 2 else y, state, name, True).reshape(shape)
        return 1 / (1 + np.exp(-y))

    y = pool(normed(conv(x, state, "features.0", 1, 2), "features.1"), 2, 2, 0, "avg")
    y = pool(normed(conv(y, state, "features.4"), "features.5"), 2, 2, 0, "avg").reshape(5, -1)
    y = normed(linear(y, state, "classifier.1"), "classifier.2")
    y = linear(normed(linear(y, state, "classifier.4"), "classifier.5"), state, "classifier.7")
    np.testing.assert_allclose(run(model, x), y, rtol=1e-9, atol=1e-11)

"""LeNet-5: the book's table of shapes and counts, the modern form, the smallest image."""

import pytest
import torch
from torch import nn

from d2lcli.models.lenet import lenet
from d2lcli.training.summary import summarize


def count(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def test_parameters() -> None:
    assert count(lenet()) == 61_706
    assert count(lenet(padding=0)) == 44_426
    assert count(lenet(activation="relu", pool="max")) == 61_706


def test_shapes_of_the_book() -> None:
    """d2l 7.6: layer_summary((1, 1, 28, 28))."""
    shapes = [(row.type, row.output_shape[1:]) for row in summarize(lenet(), (1, 28, 28)).layers]
    assert shapes == [
        ("Conv2d", (6, 28, 28)),
        ("Sigmoid", (6, 28, 28)),
        ("AvgPool2d", (6, 14, 14)),
        ("Conv2d", (16, 10, 10)),
        ("Sigmoid", (16, 10, 10)),
        ("AvgPool2d", (16, 5, 5)),
        ("Flatten", (400,)),
        ("Linear", (120,)),
        ("Sigmoid", (120,)),
        ("Linear", (84,)),
        ("Sigmoid", (84,)),
        ("Linear", (10,)),
    ]


def test_parameters_of_each_layer_without_padding() -> None:
    rows = summarize(lenet(padding=0), (1, 28, 28)).layers
    assert [row.parameters for row in rows if row.parameters] == [156, 2_416, 30_840, 10_164, 850]


def test_modern_form() -> None:
    types = [row.type for row in summarize(lenet(activation="relu", pool="max"), (1, 28, 28)).layers]
    assert types.count("ReLU") == 4
    assert types.count("MaxPool2d") == 2
    assert not {"Sigmoid", "AvgPool2d"} & set(types)


def test_batch_norm_before_each_activation() -> None:
    """d2l 8.5: two parameters more for each of the 6 and 16 channels and the 120 and 84 units."""
    more = 2 * (6 + 16 + 120 + 84)
    assert count(lenet(batch_norm=True)) == 61_706 + more
    model = lenet(padding=0, batch_norm=True)
    assert count(model) == 44_426 + more
    types = [row.type for row in summarize(model, (1, 28, 28)).layers]
    assert types == [
        *("Conv2d", "BatchNorm2d", "Sigmoid", "AvgPool2d") * 2,
        "Flatten",
        *("Linear", "BatchNorm1d", "Sigmoid") * 2,
        "Linear",
    ]


@pytest.mark.parametrize(("padding", "smallest"), [(0, 16), (1, 14), (2, 12), (3, 10)])
def test_smallest_image(padding: int, smallest: int) -> None:
    model = lenet(image_size=smallest, padding=padding)
    assert model(torch.zeros(2, 1, smallest, smallest)).shape == (2, 10)
    with pytest.raises(ValueError, match=f"at least {smallest} .*padding {padding}, but it is {smallest - 1}"):
        lenet(image_size=smallest - 1, padding=padding)


@pytest.mark.parametrize("size", [12, 13, 16, 28, 31, 32, 64])
def test_the_linear_layers_fit_any_image(size: int) -> None:
    assert lenet(in_channels=3, num_classes=4, image_size=size)(torch.zeros(2, 3, size, size)).shape == (2, 4)


def test_initial_weights_are_xavier_uniform() -> None:
    """With the book's initial weights a signal of unit size keeps its order of size on the way to the logits."""
    torch.manual_seed(0)
    model = lenet()
    for layer, fans in zip((model.features[0], model.features[3]), (25 + 150, 150 + 400), strict=True):
        bound = (6 / fans) ** 0.5
        largest = layer.weight.abs().max().item()
        assert 0.9 * bound < largest <= bound


def test_bad_sizes() -> None:
    with pytest.raises(ValueError, match="in_channels must be at least 1"):
        lenet(in_channels=0)
    with pytest.raises(ValueError, match="padding must be at least 0, but it is -1"):
        lenet(padding=-1)

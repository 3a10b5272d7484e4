"""ResNeXt: published counts, multiply-adds and tensor names, what groups cost and compute, the book's block."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import nn

from d2lcli.models.resnet import Bottleneck, resnext50_32x4d, resnext101_32x8d, resnext101_64x4d
from d2lcli.nn.resnext import ResNeXtBlock
from d2lcli.training.summary import summarize

# torchvision's published parameters and billions of multiply-adds at 224 x 224
PUBLISHED = [
    (resnext50_32x4d, 25_028_904, 4.230),
    (resnext101_32x8d, 88_791_336, 16.414),
    (resnext101_64x4d, 83_455_272, 15.460),
]


def on_meta(build: Callable[..., nn.Module], **options: object) -> nn.Module:
    with torch.device("meta"):
        return build(**options)


@pytest.mark.parametrize(("build", "parameters", "billions"), PUBLISHED)
def test_published_figures(build: Callable[..., nn.Module], parameters: int, billions: float) -> None:
    summary = summarize(on_meta(build), (3, 224, 224))
    assert summary.parameters == parameters
    assert round(summary.multiply_adds / 1e9, 3) == billions


def test_the_width_is_the_paper_s() -> None:
    """Table 1 of the paper, stage conv2 of ResNeXt-50 (32x4d): 1 x 1, 128; 3 x 3, 128, C = 32; 1 x 1, 256."""
    shapes = {name: tuple(value.shape) for name, value in on_meta(resnext50_32x4d).state_dict().items()}
    assert shapes["layer1.0.conv1.weight"] == (128, 64, 1, 1)
    assert shapes["layer1.0.conv2.weight"] == (128, 4, 3, 3)
    assert shapes["layer1.0.conv3.weight"] == (256, 128, 1, 1)
    assert shapes["layer4.2.conv2.weight"] == (1024, 32, 3, 3)
    assert shapes["fc.weight"] == (1000, 2048)
    assert len(shapes) == 320  # as many and with the same names as ResNet-50's
    assert on_meta(resnext101_64x4d).get_parameter("layer1.0.conv2.weight").shape == (256, 4, 3, 3)
    assert on_meta(resnext101_32x8d).get_parameter("layer1.0.conv2.weight").shape == (256, 8, 3, 3)


def test_shapes_of_the_stages() -> None:
    rows = {row.name: row.output_shape for row in summarize(on_meta(resnext50_32x4d), (3, 224, 224)).layers}
    assert rows["layer1.2.bn3"] == (1, 256, 56, 56)
    assert rows["layer2.3.bn3"] == (1, 512, 28, 28)
    assert rows["layer3.5.bn3"] == (1, 1024, 14, 14)
    assert rows["layer4.2.bn3"] == (1, 2048, 7, 7)


def test_one_group_of_64_is_the_residual_bottleneck() -> None:
    plain, grouped = Bottleneck(8, 4), Bottleneck(8, 4, groups=1, width_per_group=64)
    grouped.load_state_dict(plain.state_dict())
    x = torch.randn(2, 8, 5, 5)
    assert torch.equal(plain(x), grouped(x))


@pytest.mark.parametrize("c_in", [32, 64, 128])
@pytest.mark.parametrize("c_out", [32, 96])
@pytest.mark.parametrize("groups", [1, 2, 4, 16, 32])
@pytest.mark.parametrize("k", [1, 3, 5])
def test_the_cost_of_a_grouped_convolution(c_in: int, c_out: int, groups: int, k: int) -> None:
    """d2l 8.6: g convolutions of c_in / g to c_out / g channels, together c_in c_out / g per place of the kernel."""
    with torch.device("meta"):
        layer = nn.Conv2d(c_in, c_out, k, padding=k // 2, groups=groups)
    summary = summarize(layer, (c_in, 8, 8))
    assert summary.parameters == c_in * c_out * k * k // groups + c_out
    assert summary.multiply_adds == 64 * c_in * c_out * k * k // groups


def test_a_grouped_convolution_is_one_convolution_for_each_group() -> None:
    layer = nn.Conv2d(12, 8, 3, groups=4, padding=1).double()
    x = torch.randn(2, 12, 5, 5, dtype=torch.float64)
    pieces = [
        nn.functional.conv2d(part, weight, bias, padding=1)
        for part, weight, bias in zip(x.chunk(4, 1), layer.weight.chunk(4), layer.bias.chunk(4), strict=True)  # type: ignore[union-attr]
    ]
    torch.testing.assert_close(layer(x), torch.cat(pieces, 1))


def test_the_book_s_block() -> None:
    """d2l 8.6: ResNeXtBlock(32, 16, 1) keeps 4 x 32 x 96 x 96; its 16 is the width of a group."""
    x = torch.randn(4, 32, 96, 96)
    assert ResNeXtBlock(32, 32, group_width=16)(x).shape == x.shape
    assert ResNeXtBlock(32, 48, 2, group_width=16)(x).shape == (4, 48, 48, 48)
    assert ResNeXtBlock(32, 32, group_width=16).get_parameter("f.b.0.weight").shape == (32, 16, 3, 3)
    assert ResNeXtBlock(32, 32, groups=16).get_parameter("f.b.0.weight").shape == (32, 2, 3, 3)


@pytest.mark.parametrize("bottleneck", [0.25, 0.5, 1.0, 2.0])
@pytest.mark.parametrize("group_width", [1, 4, 8])
@pytest.mark.parametrize("bias", [False, True])
def test_the_cost_of_a_block(bottleneck: float, group_width: int, bias: bool) -> None:
    """c b + 9 b^2 / groups + b c weights, b = round(c bottleneck), and two numbers a channel for each batch norm."""
    c = 32
    b = round(c * bottleneck)
    groups = b // group_width
    convolutions = c * b + 9 * b * b // groups + b * c
    norms = 2 * (b + b + c)
    for sizes in ({"group_width": group_width}, {"groups": groups}):
        block = ResNeXtBlock(c, c, bottleneck=bottleneck, bias=bias, **sizes)
        assert sum(p.numel() for p in block.parameters()) == convolutions + norms + bias * (b + b + c)
        assert summarize(block, (c, 7, 7)).multiply_adds == 49 * convolutions
    assert math.isclose(9 * b * b / groups, 9 * b * group_width)


def test_a_block_without_a_residual_is_the_identity_on_positive_inputs() -> None:
    block = ResNeXtBlock(8, 8, group_width=2, squeezed=3)
    nn.init.zeros_(block.get_parameter("f.c.1.weight"))
    x = torch.randn(4, 8, 6, 6)
    assert torch.equal(block(x.abs()), x.abs())
    assert torch.equal(block(x), x.relu())


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({}, "exactly one of groups and group width; they are None and None"),
        ({"groups": 4, "group_width": 4}, "exactly one of groups and group width; they are 4 and 4"),
        ({"groups": 5}, "groups must divide the 32 channels inside a block, but it is 5"),
        ({"group_width": 64}, "group_width must divide the 32 channels inside a block, but it is 64"),
        ({"groups": 0}, "groups must be at least 1, but it is 0"),
        ({"group_width": -2}, "group_width must be at least 1, but it is -2"),
        ({"groups": 1, "bottleneck": 0.01}, "the 0 channels inside a block"),
    ],
)
def test_groups_that_do_not_fit(sizes: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ResNeXtBlock(32, 32, **sizes)  # type: ignore[arg-type]


def test_bad_sizes() -> None:
    with pytest.raises(ValueError, match="in_channels must be at least 1, but it is 0"):
        resnext50_32x4d(in_channels=0)

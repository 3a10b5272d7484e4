"""Residual networks (He et al., 2016) and ResNeXt, whose bottlenecks are grouped (Xie et al., 2017; d2l 8.6).

The layout, the names and shapes of all tensors and the initial weights are torchvision's.  With variant="d2l" the
layers are the book's: convolutions with biases, and a shortcut of one 1 x 1 convolution without batch norm.

n examples, c channels, h x w the size of a map.  A stride s leaves ceil(h / s) x ceil(w / s).
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Literal

from torch import Tensor, nn

from d2lcli.nn.checks import require_positive

Variant = Literal["torchvision", "d2l"]
Block = Callable[[int, int, int, Variant], nn.Module]


class BasicBlock(nn.Module):
    """relu(g(x) + shortcut(x)), g two 3 x 3 convolutions, each with batch norm.

    (n, in_channels, h, w) -> (n, channels, h/s, w/s).

    Args:
        in_channels: channels of x.
        channels: channels inside the block and of its output.
        stride: s, taken by the first convolution and by the shortcut.
        variant: where the layers follow the book instead of torchvision.
    """

    expansion = 1

    def __init__(self, in_channels: int, channels: int, stride: int = 1, variant: Variant = "torchvision") -> None:
        super().__init__()
        bias = variant == "d2l"
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride=stride, padding=1, bias=bias)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=bias)
        self.bn2 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = _shortcut(in_channels, channels, stride, variant)

    def forward(self, x: Tensor) -> Tensor:
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        out += x if self.downsample is None else self.downsample(x)
        activated: Tensor = self.relu(out)
        return activated


class Bottleneck(nn.Module):
    """relu(g(x) + shortcut(x)), g a 1 x 1, a 3 x 3 and a 1 x 1 convolution, each with batch norm.

    (n, in_channels, h, w) -> (n, 4 channels, h/s, w/s).  The stride stands in the 3 x 3 convolution, as
    in torchvision, not in the first 1 x 1 as in the paper.  In ResNeXt the 3 x 3 convolution is grouped: each output
    channel sees width / groups of the inner channels, so that more of them cost the same.

    Args:
        in_channels: channels of x.
        channels: channels inside the block, for ResNeXt to be scaled as below; its output has four times as many.
        stride: s, taken by the 3 x 3 convolution and by the shortcut.
        variant: where the layers follow the book instead of torchvision.
        groups: of the 3 x 3 convolution, "cardinality" in the ResNeXt paper.
        width_per_group: the block has groups * width_per_group * channels / 64 inner channels.
    """

    expansion = 4

    def __init__(
        self,
        in_channels: int,
        channels: int,
        stride: int = 1,
        variant: Variant = "torchvision",
        groups: int = 1,
        width_per_group: int = 64,
    ) -> None:
        super().__init__()
        bias = variant == "d2l"
        width = channels * width_per_group // 64 * groups
        out_channels = channels * self.expansion
        self.conv1 = nn.Conv2d(in_channels, width, 1, bias=bias)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride=stride, padding=1, groups=groups, bias=bias)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, out_channels, 1, bias=bias)
        self.bn3 = nn.BatchNorm2d(out_channels)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = _shortcut(in_channels, out_channels, stride, variant)

    def forward(self, x: Tensor) -> Tensor:
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.relu(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        out += x if self.downsample is None else self.downsample(x)
        activated: Tensor = self.relu(out)
        return activated


def _shortcut(in_channels: int, out_channels: int, stride: int, variant: Variant) -> nn.Sequential | None:
    """None for the identity; a 1 x 1 convolution where the block changes the shape."""
    if stride == 1 and in_channels == out_channels:
        return None
    if variant == "d2l":
        return nn.Sequential(nn.Conv2d(in_channels, out_channels, 1, stride=stride))
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 1, stride=stride, bias=False), nn.BatchNorm2d(out_channels)
    )


class ResNet(nn.Module):
    """A stem that divides the side by 4, four stages of blocks, global average pooling, one linear layer.

    Args:
        block: the kind of block in all stages.
        depths: the number of blocks in each of the four stages; each stage after the first halves the side.
        in_channels: channels of the images.
        num_classes: the number of logits.
        variant: where the layers follow the book instead of torchvision.
        groups, width_per_group: of bottlenecks.

    Raises:
        ValueError: a size is below 1.
    """

    def __init__(
        self,
        block: type[BasicBlock] | type[Bottleneck],
        depths: Sequence[int],
        in_channels: int,
        num_classes: int,
        variant: Variant = "torchvision",
        groups: int = 1,
        width_per_group: int = 64,
    ) -> None:
        require_positive(in_channels=in_channels, num_classes=num_classes)
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, 64, 7, stride=2, padding=3, bias=variant == "d2l")
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        e = block.expansion
        make: Block = block
        if issubclass(block, Bottleneck):
            make = partial(block, groups=groups, width_per_group=width_per_group)
        self.layer1 = _stage(make, depths[0], 64, 64, 64 * e, 1, variant)
        self.layer2 = _stage(make, depths[1], 64 * e, 128, 128 * e, 2, variant)
        self.layer3 = _stage(make, depths[2], 128 * e, 256, 256 * e, 2, variant)
        self.layer4 = _stage(make, depths[3], 256 * e, 512, 512 * e, 2, variant)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(512 * e, num_classes)
        _initialise(self, variant)

    def forward(self, images: Tensor) -> Tensor:
        x = self.maxpool(self.relu(self.bn1(self.conv1(images))))  # (n, 64, h/4, w/4)
        x = self.layer1(x)  # (n, 64 e, h/4, w/4), e = 1 for basic blocks, 4 for bottlenecks
        x = self.layer2(x)  # (n, 128 e, h/8, w/8)
        x = self.layer3(x)  # (n, 256 e, h/16, w/16)
        x = self.layer4(x)  # (n, 512 e, h/32, w/32)
        x = self.avgpool(x).flatten(1)  # (n, 512 e)
        logits: Tensor = self.fc(x)  # (n, num_classes)
        return logits


def _stage(
    make: Block, depth: int, in_channels: int, channels: int, out_channels: int, stride: int, variant: Variant
) -> nn.Sequential:
    """`depth` blocks, of which the first takes the stride and the change of channels."""
    first = make(in_channels, channels, stride, variant)
    return nn.Sequential(first, *(make(out_channels, channels, 1, variant) for _ in range(depth - 1)))


def _initialise(model: nn.Module, variant: Variant) -> None:
    """torchvision: He's normal weights by fan_out in the convolutions.  d2l: Xavier's uniform ones in every layer."""
    for layer in model.modules():
        if variant == "d2l" and isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.xavier_uniform_(layer.weight)
        elif isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")


def resnet18(*, in_channels: int = 3, num_classes: int = 1000, variant: Variant = "torchvision") -> nn.Module:
    """ResNet-18: 11,689,512 parameters, 1.814 billion multiply-adds at 224 x 224.  Arguments: see `ResNet`."""
    return ResNet(BasicBlock, (2, 2, 2, 2), in_channels, num_classes, variant)


def resnet34(*, in_channels: int = 3, num_classes: int = 1000, variant: Variant = "torchvision") -> nn.Module:
    """ResNet-34: 21,797,672 parameters, 3.664 billion multiply-adds at 224 x 224.  Arguments: see `ResNet`."""
    return ResNet(BasicBlock, (3, 4, 6, 3), in_channels, num_classes, variant)


def resnet50(*, in_channels: int = 3, num_classes: int = 1000, variant: Variant = "torchvision") -> nn.Module:
    """ResNet-50: 25,557,032 parameters, 4.089 billion multiply-adds at 224 x 224.  Arguments: see `ResNet`."""
    return ResNet(Bottleneck, (3, 4, 6, 3), in_channels, num_classes, variant)


def resnet101(*, in_channels: int = 3, num_classes: int = 1000, variant: Variant = "torchvision") -> nn.Module:
    """ResNet-101: 44,549,160 parameters, 7.801 billion multiply-adds at 224 x 224.  Arguments: see `ResNet`."""
    return ResNet(Bottleneck, (3, 4, 23, 3), in_channels, num_classes, variant)


def resnet152(*, in_channels: int = 3, num_classes: int = 1000, variant: Variant = "torchvision") -> nn.Module:
    """ResNet-152: 60,192,808 parameters, 11.514 billion multiply-adds at 224 x 224.  Arguments: see `ResNet`."""
    return ResNet(Bottleneck, (3, 8, 36, 3), in_channels, num_classes, variant)


def resnext50_32x4d(*, in_channels: int = 3, num_classes: int = 1000) -> nn.Module:
    """ResNeXt-50, 32 groups of 4: 25,028,904 parameters, 4.230 billion multiply-adds at 224 x 224."""
    return ResNet(Bottleneck, (3, 4, 6, 3), in_channels, num_classes, groups=32, width_per_group=4)


def resnext101_32x8d(*, in_channels: int = 3, num_classes: int = 1000) -> nn.Module:
    """ResNeXt-101, 32 groups of 8: 88,791,336 parameters, 16.414 billion multiply-adds at 224 x 224."""
    return ResNet(Bottleneck, (3, 4, 23, 3), in_channels, num_classes, groups=32, width_per_group=8)


def resnext101_64x4d(*, in_channels: int = 3, num_classes: int = 1000) -> nn.Module:
    """ResNeXt-101, 64 groups of 4: 83,455,272 parameters, 15.460 billion multiply-adds at 224 x 224."""
    return ResNet(Bottleneck, (3, 4, 23, 3), in_channels, num_classes, groups=64, width_per_group=4)

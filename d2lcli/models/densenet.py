"""Densely connected networks (Huang et al., 2017; d2l 8.7).

densenet121 and its sisters have torchvision's layers, tensor names and initial weights.  `densenet` is the book's:
dense layers without a bottleneck, convolutions with biases, Xavier's uniform initial weights.

n examples, c channels, h x w the size of a map, k the growth rate.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from d2lcli.nn.checks import require_positive


class DenseLayer(nn.Sequential):
    """One new piece of a dense block: k channels made of all the channels before.  (n, c, h, w) -> (n, k, h, w).

    Batch norm, relu and a 3 x 3 convolution.  With a bottleneck the same with a 1 x 1 convolution goes before, so that
    the 3 x 3 convolution sees `bottleneck` * k channels, however many there are.

    Args:
        in_channels: c.
        growth_rate: k.
        bottleneck: channels after the 1 x 1 convolution, in units of k; 0 leaves it out.
        bias: whether the convolutions have biases.
    """

    def __init__(self, in_channels: int, growth_rate: int, bottleneck: int = 0, bias: bool = False) -> None:
        super().__init__()
        channels, last = in_channels, 1
        if bottleneck:
            channels, last = bottleneck * growth_rate, 2
            self.norm1 = nn.BatchNorm2d(in_channels)
            self.relu1 = nn.ReLU(inplace=True)
            self.conv1 = nn.Conv2d(in_channels, channels, 1, bias=bias)
        self.add_module(f"norm{last}", nn.BatchNorm2d(channels))
        self.add_module(f"relu{last}", nn.ReLU(inplace=True))
        self.add_module(f"conv{last}", nn.Conv2d(channels, growth_rate, 3, padding=1, bias=bias))


class DenseBlock(nn.Module):
    """x -> [x, f1(x), f2([x, f1(x)]), ...], the brackets a concatenation of channels.

    (n, c, h, w) -> (n, c + num_layers k, h, w).

    Args:
        num_layers: how many dense layers.
        in_channels: c.
        growth_rate: k.
        bottleneck, bias: of each dense layer.
    """

    def __init__(
        self, num_layers: int, in_channels: int, growth_rate: int, bottleneck: int = 0, bias: bool = False
    ) -> None:
        super().__init__()
        for i in range(num_layers):
            layer = DenseLayer(in_channels + i * growth_rate, growth_rate, bottleneck, bias)
            self.add_module(f"denselayer{i + 1}", layer)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.children():
            x = torch.cat((x, layer(x)), dim=1)  # (n, c + i k, h, w) -> (n, c + (i + 1) k, h, w)
        return x


class Transition(nn.Sequential):
    """Fewer channels on a map of half the side: batch norm, relu, a 1 x 1 convolution, means of 2 x 2.

    (n, in_channels, h, w) -> (n, out_channels, floor(h / 2), floor(w / 2)).
    """

    def __init__(self, in_channels: int, out_channels: int, bias: bool = False) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(in_channels)
        self.relu = nn.ReLU(inplace=True)
        self.conv = nn.Conv2d(in_channels, out_channels, 1, bias=bias)
        self.pool = nn.AvgPool2d(2, stride=2)


class DenseNet(nn.Module):
    """A stem that divides the side by 4, dense blocks with a transition between two, average pooling, a linear layer.

    Args:
        arch: the number of dense layers in each block; a transition halves the channels and the side.
        growth_rate: k.
        stem_channels: channels after the first convolution.
        in_channels: channels of the images.
        num_classes: the number of logits.
        bottleneck: of the dense layers.
        book: biases in the convolutions and Xavier's initial weights.

    Raises:
        ValueError: a size is below 1, or there is no block.
    """

    def __init__(
        self,
        arch: Sequence[int],
        growth_rate: int,
        stem_channels: int,
        in_channels: int,
        num_classes: int,
        bottleneck: int = 4,
        book: bool = False,
    ) -> None:
        require_positive(in_channels=in_channels, num_classes=num_classes, stem_channels=stem_channels)
        require_positive(growth_rate=growth_rate, **{f"arch[{i}]": depth for i, depth in enumerate(arch)})
        if not arch:
            raise ValueError("arch must hold the number of layers of at least one block, but it is empty.")
        super().__init__()
        self.features = nn.Sequential()
        self.features.add_module("conv0", nn.Conv2d(in_channels, stem_channels, 7, stride=2, padding=3, bias=book))
        self.features.add_module("norm0", nn.BatchNorm2d(stem_channels))
        self.features.add_module("relu0", nn.ReLU(inplace=True))
        self.features.add_module("pool0", nn.MaxPool2d(3, stride=2, padding=1))
        channels = stem_channels
        for i, depth in enumerate(arch, start=1):
            self.features.add_module(f"denseblock{i}", DenseBlock(depth, channels, growth_rate, bottleneck, book))
            channels += depth * growth_rate
            if i < len(arch):
                self.features.add_module(f"transition{i}", Transition(channels, channels // 2, book))
                channels //= 2
        self.features.add_module(f"norm{len(arch) + 1}", nn.BatchNorm2d(channels))
        self.relu = nn.ReLU(inplace=True)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(channels, num_classes)
        self.apply(_initialise_book if book else _initialise)

    def forward(self, images: Tensor) -> Tensor:
        x = self.features(images)  # (n, channels, side, side), side = h/32 for four blocks
        x = self.avgpool(self.relu(x)).flatten(1)  # (n, channels)
        logits: Tensor = self.classifier(x)  # (n, num_classes)
        return logits


def _initialise(layer: nn.Module) -> None:
    """torchvision: He's normal weights by fan_in in the convolutions, no bias in the linear layer."""
    if isinstance(layer, nn.Conv2d):
        nn.init.kaiming_normal_(layer.weight)
    elif isinstance(layer, nn.Linear):
        nn.init.zeros_(layer.bias)


def _initialise_book(layer: nn.Module) -> None:
    if isinstance(layer, nn.Conv2d | nn.Linear):
        nn.init.xavier_uniform_(layer.weight)


def densenet(
    *,
    in_channels: int = 3,
    num_classes: int = 1000,
    image_size: int = 224,
    arch: Sequence[int] = (4, 4, 4, 4),
    growth_rate: int = 32,
    stem_channels: int = 64,
) -> nn.Module:
    """The book's DenseNet, without bottlenecks: 758,226 parameters with 1 channel and 10 classes.

    Args:
        in_channels: channels of the images.
        num_classes: the number of logits.
        image_size: the smaller side of the images.  No weight depends on it, but each transition halves it.
        arch: the number of dense layers in each block.
        growth_rate: k, the channels that each dense layer adds.
        stem_channels: channels after the first convolution.

    Raises:
        ValueError: a size is below 1, there is no block, or the image is too small: the minimum is named.
    """
    smallest = 2 ** (len(arch) + 1) - 3  # the stem leaves ceil(side / 4)
    if arch and image_size < smallest:
        raise ValueError(
            f"image_size must be at least {smallest} for a DenseNet of {len(arch)} blocks, but it is {image_size}."
        )
    return DenseNet(arch, growth_rate, stem_channels, in_channels, num_classes, bottleneck=0, book=True)


def densenet121(*, in_channels: int = 3, num_classes: int = 1000) -> nn.Module:
    """DenseNet-121, k = 32: 7,978,856 parameters, 2.834 billion multiply-adds at 224 x 224."""
    return DenseNet((6, 12, 24, 16), 32, 64, in_channels, num_classes)


def densenet161(*, in_channels: int = 3, num_classes: int = 1000) -> nn.Module:
    """DenseNet-161, k = 48: 28,681,000 parameters, 7.728 billion multiply-adds at 224 x 224."""
    return DenseNet((6, 12, 36, 24), 48, 96, in_channels, num_classes)


def densenet169(*, in_channels: int = 3, num_classes: int = 1000) -> nn.Module:
    """DenseNet-169, k = 32: 14,149,480 parameters, 3.360 billion multiply-adds at 224 x 224."""
    return DenseNet((6, 12, 32, 32), 32, 64, in_channels, num_classes)


def densenet201(*, in_channels: int = 3, num_classes: int = 1000) -> nn.Module:
    """DenseNet-201, k = 32: 20,013,928 parameters, 4.291 billion multiply-adds at 224 x 224."""
    return DenseNet((6, 12, 48, 32), 32, 64, in_channels, num_classes)

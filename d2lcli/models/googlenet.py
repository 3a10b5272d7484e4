"""GoogLeNet (Szegedy et al., 2015): as in the book (d2l 8.4), and torchvision's with batch norm.

With variant="torchvision" the layout, the names and shapes of all tensors and the initial weights are torchvision's;
where the papers have a 5 x 5 convolution it has a 3 x 3 one.

n examples, c channels, h x w the size of a map.
"""

from typing import Literal

import torch
from torch import Tensor, nn

from d2lcli.nn.checks import require_positive

Variant = Literal["torchvision", "d2l"]


class Conv(nn.Module):
    """A convolution and a ReLU, with torchvision's layers a batch norm between them."""

    def __init__(
        self,
        in_channels: int,
        channels: int,
        kernel: int,
        *,
        stride: int = 1,
        padding: int = 0,
        variant: Variant,
    ) -> None:
        super().__init__()
        plain = variant == "d2l"
        self.conv = nn.Conv2d(in_channels, channels, kernel, stride=stride, padding=padding, bias=plain)
        self.bn = nn.Identity() if plain else nn.BatchNorm2d(channels, eps=0.001)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        activated: Tensor = self.relu(self.bn(self.conv(x)))
        return activated


class Inception(nn.Module):
    """Four branches side by side, their maps one after another: windows of several sizes see the same place.

    (n, in_channels, h, w) -> (n, c1 + c2[1] + c3[1] + c4, h, w).

    Args:
        in_channels: channels of x.
        c1: channels of branch 1, a 1 x 1 convolution.
        c2: channels of branch 2, a 1 x 1 and a 3 x 3 convolution.
        c3: channels of branch 3, a 1 x 1 and a 5 x 5 convolution (3 x 3 in torchvision).
        c4: channels of branch 4, a 3 x 3 max pooling and a 1 x 1 convolution.
        variant: where the layers follow the book instead of torchvision.
    """

    def __init__(
        self,
        in_channels: int,
        c1: int,
        c2: tuple[int, int],
        c3: tuple[int, int],
        c4: int,
        variant: Variant = "torchvision",
    ) -> None:
        super().__init__()
        wide = 5 if variant == "d2l" else 3
        self.branch1 = Conv(in_channels, c1, 1, variant=variant)
        self.branch2 = nn.Sequential(
            Conv(in_channels, c2[0], 1, variant=variant), Conv(c2[0], c2[1], 3, padding=1, variant=variant)
        )
        self.branch3 = nn.Sequential(
            Conv(in_channels, c3[0], 1, variant=variant),
            Conv(c3[0], c3[1], wide, padding=wide // 2, variant=variant),
        )
        self.branch4 = nn.Sequential(nn.MaxPool2d(3, stride=1, padding=1), Conv(in_channels, c4, 1, variant=variant))

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.branch1(x), self.branch2(x), self.branch3(x), self.branch4(x)], dim=1)


class AuxiliaryHead(nn.Module):
    """A classifier on maps half way up, for training only: (n, in_channels, h, w) -> (n, num_classes)."""

    def __init__(self, in_channels: int, num_classes: int, variant: Variant) -> None:
        super().__init__()
        self.avgpool = nn.AdaptiveAvgPool2d(4)
        self.conv = Conv(in_channels, 128, 1, variant=variant)
        self.fc1 = nn.Linear(128 * 4 * 4, 1024)
        self.relu = nn.ReLU(inplace=True)
        self.dropout = nn.Dropout(0.7)
        self.fc2 = nn.Linear(1024, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(self.avgpool(x)).flatten(1)  # (n, 2048)
        logits: Tensor = self.fc2(self.dropout(self.relu(self.fc1(x))))
        return logits


class GoogLeNet(nn.Module):
    """A stem that divides the side by 8, nine Inception blocks with two poolings, global average pooling, one layer.

    With `aux`, a model in training mode returns (logits, auxiliary logits 1, auxiliary logits 2), otherwise the logits.

    Args:
        in_channels: channels of the images.
        num_classes: the number of logits.
        aux: whether two auxiliary heads stand on blocks 4a and 4d.
        dropout: the probability of a zero before the last layer.
        variant: where the layers follow the book instead of torchvision.

    Raises:
        ValueError: a size is below 1.
    """

    def __init__(self, in_channels: int, num_classes: int, aux: bool, dropout: float, variant: Variant) -> None:
        require_positive(in_channels=in_channels, num_classes=num_classes)
        super().__init__()
        v = variant
        self.conv1 = Conv(in_channels, 64, 7, stride=2, padding=3, variant=v)
        self.maxpool1 = _pool(v)
        self.conv2 = Conv(64, 64, 1, variant=v)
        self.conv3 = Conv(64, 192, 3, padding=1, variant=v)
        self.maxpool2 = _pool(v)
        self.inception3a = Inception(192, 64, (96, 128), (16, 32), 32, v)
        self.inception3b = Inception(256, 128, (128, 192), (32, 96), 64, v)
        self.maxpool3 = _pool(v)
        self.inception4a = Inception(480, 192, (96, 208), (16, 48), 64, v)
        self.inception4b = Inception(512, 160, (112, 224), (24, 64), 64, v)
        self.inception4c = Inception(512, 128, (128, 256), (24, 64), 64, v)
        self.inception4d = Inception(512, 112, (144, 288), (32, 64), 64, v)
        self.inception4e = Inception(528, 256, (160, 320), (32, 128), 128, v)
        self.maxpool4 = _pool(v) if v == "d2l" else nn.MaxPool2d(2, stride=2, ceil_mode=True)
        self.inception5a = Inception(832, 256, (160, 320), (32, 128), 128, v)
        self.inception5b = Inception(832, 384, (192, 384), (48, 128), 128, v)
        self.aux1 = AuxiliaryHead(512, num_classes, v) if aux else None
        self.aux2 = AuxiliaryHead(528, num_classes, v) if aux else None
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(1024, num_classes)
        _initialise(self, variant)

    def forward(self, images: Tensor) -> Tensor | tuple[Tensor, Tensor, Tensor]:
        x = self.maxpool1(self.conv1(images))  # (n, 64, h/4, w/4)
        x = self.maxpool2(self.conv3(self.conv2(x)))  # (n, 192, h/8, w/8)
        x = self.inception3b(self.inception3a(x))  # 256, then 480 channels
        x = first = self.inception4a(self.maxpool3(x))  # (n, 512, h/16, w/16)
        x = second = self.inception4d(self.inception4c(self.inception4b(x)))  # (n, 528, h/16, w/16)
        x = self.maxpool4(self.inception4e(x))  # (n, 832, h/32, w/32)
        x = self.inception5b(self.inception5a(x))  # (n, 1024, h/32, w/32)
        logits: Tensor = self.fc(self.dropout(self.avgpool(x).flatten(1)))  # (n, num_classes)
        if self.training and self.aux1 is not None and self.aux2 is not None:
            return logits, self.aux1(first), self.aux2(second)
        return logits


def _pool(variant: Variant) -> nn.Module:
    """A 3 x 3 max pooling to half the side, rounded up: padded in the book, windows over the edge in torchvision."""
    return nn.MaxPool2d(3, stride=2, padding=1) if variant == "d2l" else nn.MaxPool2d(3, stride=2, ceil_mode=True)


def _initialise(model: nn.Module, variant: Variant) -> None:
    """torchvision: N(0, 0.01^2).  d2l: Xavier's uniform weights."""
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            if variant == "d2l":
                nn.init.xavier_uniform_(layer.weight)
            else:
                nn.init.normal_(layer.weight, std=0.01)


def googlenet(*, in_channels: int = 3, num_classes: int = 1000, aux: bool = False, dropout: float = 0.0) -> nn.Module:
    """The book's GoogLeNet: 6,998,552 parameters, 5,977,530 with one channel and ten classes.

    Arguments and errors: see `GoogLeNet`.
    """
    return GoogLeNet(in_channels, num_classes, aux, dropout, "d2l")


def googlenet_tv(
    *, in_channels: int = 3, num_classes: int = 1000, aux: bool = False, dropout: float = 0.2
) -> nn.Module:
    """torchvision's GoogLeNet: 6,624,904 parameters, 13,004,888 with the auxiliary heads; images of at least 15 x 15.

    At 224 x 224 it takes 1.498 billion multiply-adds.  Its published weights expect pixels scaled to [-1, 1].
    Arguments and errors: see `GoogLeNet`.
    """
    return GoogLeNet(in_channels, num_classes, aux, dropout, "torchvision")

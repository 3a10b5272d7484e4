"""AnyNet and the RegNet families (Radosavovic et al., 2020; d2l 8.8).

An AnyNet has free stages of ResNeXt blocks.  A RegNet is an AnyNet whose stages follow a line: see `generate_widths`.
Tensor names, shapes and initial weights are torchvision's.  With variant="d2l" the convolutions have the book's biases
and Xavier's uniform weights.

n examples, h x w the size of the images.  A stride of 2 leaves ceil(h / 2) x ceil(w / 2).
"""

import math
from collections import Counter
from collections.abc import Sequence
from typing import Literal, TypeVar

from torch import Tensor, nn

from d2lcli.nn.checks import require_positive
from d2lcli.nn.resnext import ResNeXtBlock, conv_norm

Variant = Literal["torchvision", "d2l"]
Rounding = Literal["nearest", "torchvision"]
Line = tuple[int, float, float, int, int]  # w0, wa, wm, depth, group width
T = TypeVar("T")


class RegNet(nn.Module):
    """A stem that halves the side, stages that halve it again each, global average pooling, one linear layer.

    Args:
        in_channels: channels of the images.
        num_classes: the number of logits.
        stem_width: channels after the first convolution.
        depths, widths, bottlenecks: of each stage the number of blocks, their channels, and inner over outer channels.
        groups, group_widths: of each stage, see `ResNeXtBlock`; one of the two is None in every stage.
        se_ratio: channels in a squeeze-excitation over those that enter its block; 0 leaves it out.
        variant: where the layers follow the book instead of torchvision.

    Raises:
        ValueError: a size is below 1, or groups do not fit.
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        stem_width: int,
        depths: Sequence[int],
        widths: Sequence[int],
        bottlenecks: Sequence[float],
        groups: Sequence[int | None],
        group_widths: Sequence[int | None],
        se_ratio: float = 0.0,
        variant: Variant = "torchvision",
    ) -> None:
        require_positive(in_channels=in_channels, num_classes=num_classes, stem_width=stem_width)
        super().__init__()
        bias = variant == "d2l"
        self.stem = conv_norm(in_channels, stem_width, 3, stride=2, bias=bias).append(nn.ReLU(inplace=True))
        self.trunk_output = nn.Sequential()
        channels = stem_width
        for i, depth in enumerate(depths):
            require_positive(**{f"depths[{i}]": depth, f"widths[{i}]": widths[i]})
            grouping = {"groups": groups[i], "group_width": group_widths[i]}
            stage = nn.Sequential()
            for j in range(depth):
                stride, squeezed = 2 if j == 0 else 1, max(1, round(se_ratio * channels)) if se_ratio else 0
                block = ResNeXtBlock(channels, widths[i], stride, bottlenecks[i], squeezed, bias, **grouping)
                stage.add_module(f"block{i + 1}-{j}", block)
                channels = widths[i]
            self.trunk_output.add_module(f"block{i + 1}", stage)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(channels, num_classes)
        _initialise(self, variant)

    def forward(self, images: Tensor) -> Tensor:
        x = self.stem(images)  # (n, stem_width, h/2, w/2)
        x = self.trunk_output(x)  # stage i: (n, widths[i], h/2^(i+2), w/2^(i+2))
        x = self.avgpool(x).flatten(1)  # (n, widths[-1])
        logits: Tensor = self.fc(x)  # (n, num_classes)
        return logits


def _initialise(model: nn.Module, variant: Variant) -> None:
    for layer in model.modules():
        if variant == "d2l" and isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.xavier_uniform_(layer.weight)
        elif isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, std=0.01)
            nn.init.zeros_(layer.bias)


def anynet(
    *,
    in_channels: int = 3,
    num_classes: int = 1000,
    stem_width: int = 32,
    depths: Sequence[int] = (1, 1, 4, 7),
    widths: Sequence[int] = (24, 56, 152, 368),
    bottlenecks: float | Sequence[float] = 1.0,
    groups: int | Sequence[int] | None = None,
    group_widths: int | Sequence[int] | None = 8,
    variant: Variant = "torchvision",
) -> nn.Module:
    """Free stages: with four of them 17 numbers, which are RegNetX-200MF's by default.

    One number for `bottlenecks`, `groups` or `group_widths` is shared by all stages.

    Args:
        in_channels: channels of the images.
        num_classes: the number of logits.
        stem_width: channels after the first convolution.
        depths: the number of blocks in each stage.
        widths: channels of each stage.
        bottlenecks: inner over outer channels of a block; the paper's ratio b is one over it.
        groups: the number of groups in the 3 x 3 convolutions, if `group_widths` is None.
        group_widths: the channels in a group, if `groups` is None.
        variant: torchvision's layers, or the book's with biases.

    Raises:
        ValueError: lists of different lengths, a size below 1, both or none of the groups, groups that do not fit.
    """
    stages = len(depths)
    if stages < 1 or len(widths) != stages:
        raise ValueError(f"depths and widths must have one number for each stage, but have {stages} and {len(widths)}.")
    return RegNet(
        in_channels,
        num_classes,
        stem_width,
        depths,
        widths,
        _for_each("bottlenecks", bottlenecks, stages),
        _for_each("groups", groups, stages),
        _for_each("group_widths", group_widths, stages),
        variant=variant,
    )


def _for_each(name: str, value: T | Sequence[T], stages: int) -> list[T]:
    values = list(value) if isinstance(value, Sequence) else [value] * stages
    if len(values) != stages:
        raise ValueError(f"{name} must be one number, or one for each of {stages} stages, but it has {len(values)}.")
    return values


def regnetx32(*, in_channels: int = 3, num_classes: int = 1000) -> nn.Module:
    """The book's RegNetX-32 of two stages: 179,290 parameters with 1 channel and 10 classes."""
    return RegNet(in_channels, num_classes, 32, (4, 6), (32, 80), (1, 1), (None, None), (16, 16), variant="d2l")


def generate_widths(w0: int, wa: float, wm: float, depth: int) -> tuple[list[int], list[int]]:
    """The widths of the stages of a RegNet, and their depths (equations 2 to 4 of the paper).

    Block j of `depth` has the width u_j = w0 + wa j; it becomes w0 wm^s, s the whole number that comes nearest on the
    scale of logarithms, rounded to a multiple of 8.  Blocks of one width are a stage.

    Raises:
        ValueError: w0 is no multiple of 8, wa is negative, wm is not above 1, or depth is below 1.
    """
    require_positive(w0=w0, depth=depth)
    if w0 % 8 or wa < 0 or wm <= 1:
        raise ValueError(f"w0 must be a multiple of 8, wa at least 0 and wm above 1, but they are {w0}, {wa} and {wm}.")
    powers = [round(math.log((w0 + wa * j) / w0, wm)) for j in range(depth)]
    stages = Counter(8 * round(w0 * wm**s / 8) for s in powers)  # in the order of the blocks
    return list(stages), list(stages.values())


def fit_groups(
    widths: Sequence[int], group_widths: Sequence[int], bottlenecks: Sequence[float], rounding: Rounding = "nearest"
) -> tuple[list[int], list[int]]:
    """The nearest widths whose inner channels are a multiple of the group width, and group widths that are no larger.

    Args:
        widths, group_widths, bottlenecks: of each stage.
        rounding: nearest, in the middle to even, as the authors do; torchvision goes up in the middle, and up to the
            next multiple where the nearest is below nine tenths.
    """
    fitted, narrowed = [], []
    for width, group_width, bottleneck in zip(widths, group_widths, bottlenecks, strict=True):
        inner = max(1, int(width * bottleneck))
        narrowed.append(min(group_width, inner))
        step = math.lcm(narrowed[-1], max(1, int(bottleneck)))  # above 1, the width itself must be whole, too
        count = round(inner / step) if rounding == "nearest" else math.floor(inner / step + 0.5)
        if rounding == "torchvision" and count * step < 0.9 * inner:
            count += 1
        fitted.append(round(max(1, count) * step / bottleneck))
    return fitted, narrowed


def _regnet(
    in_channels: int, num_classes: int, line: Line, se_ratio: float = 0.0, rounding: Rounding = "nearest"
) -> nn.Module:
    require_positive(group_width=line[4])
    widths, depths = generate_widths(*line[:4])
    n = len(widths)
    widths, group_widths = fit_groups(widths, [line[4]] * n, [1.0] * n, rounding)
    return RegNet(in_channels, num_classes, 32, depths, widths, [1.0] * n, [None] * n, group_widths, se_ratio)


def regnetx(
    *,
    in_channels: int = 3,
    num_classes: int = 1000,
    w0: int = 24,
    wa: float = 36.44,
    wm: float = 2.49,
    depth: int = 13,
    group_width: int = 8,
    rounding: Rounding = "nearest",
) -> nn.Module:
    """Any RegNetX, by default the one of 200 million multiply-adds: bottleneck 1, a stem of 32 channels.

    Args:
        in_channels, num_classes: channels of the images, and the number of logits.
        w0, wa, wm, depth: see `generate_widths`.
        group_width: channels in a group of the 3 x 3 convolutions.
        rounding: see `fit_groups`.

    Raises:
        ValueError: a size is below 1, or a number of the line is out of range.
    """
    return _regnet(in_channels, num_classes, (w0, wa, wm, depth, group_width), rounding=rounding)


def regnety(
    *,
    in_channels: int = 3,
    num_classes: int = 1000,
    w0: int = 48,
    wa: float = 27.89,
    wm: float = 2.09,
    depth: int = 16,
    group_width: int = 8,
    se_ratio: float = 0.25,
    rounding: Rounding = "nearest",
) -> nn.Module:
    """Any RegNetY, a RegNetX with squeeze-excitation, by default the one of 400 million multiply-adds.

    Args: those of `regnetx`, and se_ratio: channels in a squeeze-excitation over those that enter its block.
    """
    if se_ratio <= 0:
        raise ValueError(f"se_ratio must be above 0, but it is {se_ratio}; without squeeze-excitation: regnetx.")
    return _regnet(in_channels, num_classes, (w0, wa, wm, depth, group_width), se_ratio, rounding)


def regnetx_200mf(*, in_channels: int = 3, num_classes: int = 1000) -> nn.Module:
    """RegNetX-200MF: 2,684,792 parameters."""
    return _regnet(in_channels, num_classes, (24, 36.44, 2.49, 13, 8))


def regnetx_400mf(*, in_channels: int = 3, num_classes: int = 1000) -> nn.Module:
    """RegNetX-400MF as in the paper, 384 channels at the end: 5,157,512 parameters."""
    return _regnet(in_channels, num_classes, (24, 24.48, 2.54, 22, 16))


def regnetx_400mf_tv(*, in_channels: int = 3, num_classes: int = 1000) -> nn.Module:
    """RegNetX-400MF as in torchvision, 400 channels at the end: 5,495,976 parameters."""
    return _regnet(in_channels, num_classes, (24, 24.48, 2.54, 22, 16), rounding="torchvision")


def regnetx_600mf(*, in_channels: int = 3, num_classes: int = 1000) -> nn.Module:
    """RegNetX-600MF: 6,196,040 parameters."""
    return _regnet(in_channels, num_classes, (48, 36.97, 2.24, 16, 24))


def regnetx_800mf(*, in_channels: int = 3, num_classes: int = 1000) -> nn.Module:
    """RegNetX-800MF: 7,259,656 parameters."""
    return _regnet(in_channels, num_classes, (56, 35.73, 2.28, 16, 16))


def regnetx_1_6gf(*, in_channels: int = 3, num_classes: int = 1000) -> nn.Module:
    """RegNetX-1.6GF: 9,190,136 parameters."""
    return _regnet(in_channels, num_classes, (80, 34.01, 2.25, 18, 24))


def regnetx_3_2gf(*, in_channels: int = 3, num_classes: int = 1000) -> nn.Module:
    """RegNetX-3.2GF: 15,296,552 parameters."""
    return _regnet(in_channels, num_classes, (88, 26.31, 2.25, 25, 48))


def regnetx_4gf(*, in_channels: int = 3, num_classes: int = 1000) -> nn.Module:
    """RegNetX-4GF: 22,118,248 parameters."""
    return _regnet(in_channels, num_classes, (96, 38.65, 2.43, 23, 40))


def regnetx_6_4gf(*, in_channels: int = 3, num_classes: int = 1000) -> nn.Module:
    """RegNetX-6.4GF: 26,209,256 parameters."""
    return _regnet(in_channels, num_classes, (184, 60.83, 2.07, 17, 56))


def regnetx_8gf(*, in_channels: int = 3, num_classes: int = 1000) -> nn.Module:
    """RegNetX-8GF: 39,572,648 parameters."""
    return _regnet(in_channels, num_classes, (80, 49.56, 2.88, 23, 120))


def regnetx_12gf(*, in_channels: int = 3, num_classes: int = 1000) -> nn.Module:
    """RegNetX-12GF: 46,106,056 parameters."""
    return _regnet(in_channels, num_classes, (168, 73.36, 2.37, 19, 112))


def regnetx_16gf(*, in_channels: int = 3, num_classes: int = 1000) -> nn.Module:
    """RegNetX-16GF: 54,278,536 parameters."""
    return _regnet(in_channels, num_classes, (216, 55.59, 2.1, 22, 128))


def regnetx_32gf(*, in_channels: int = 3, num_classes: int = 1000) -> nn.Module:
    """RegNetX-32GF: 107,811,560 parameters."""
    return _regnet(in_channels, num_classes, (320, 69.86, 2.0, 23, 168))


def regnety_400mf(*, in_channels: int = 3, num_classes: int = 1000) -> nn.Module:
    """RegNetY-400MF: 4,344,144 parameters."""
    return _regnet(in_channels, num_classes, (48, 27.89, 2.09, 16, 8), 0.25, "torchvision")


def regnety_800mf(*, in_channels: int = 3, num_classes: int = 1000) -> nn.Module:
    """RegNetY-800MF: 6,432,512 parameters."""
    return _regnet(in_channels, num_classes, (56, 38.84, 2.4, 14, 16), 0.25, "torchvision")


def regnety_1_6gf(*, in_channels: int = 3, num_classes: int = 1000) -> nn.Module:
    """RegNetY-1.6GF: 11,202,430 parameters."""
    return _regnet(in_channels, num_classes, (48, 20.71, 2.65, 27, 24), 0.25, "torchvision")


def regnety_3_2gf(*, in_channels: int = 3, num_classes: int = 1000) -> nn.Module:
    """RegNetY-3.2GF: 19,436,338 parameters."""
    return _regnet(in_channels, num_classes, (80, 42.63, 2.66, 21, 24), 0.25, "torchvision")


def regnety_8gf(*, in_channels: int = 3, num_classes: int = 1000) -> nn.Module:
    """RegNetY-8GF: 39,381,472 parameters."""
    return _regnet(in_channels, num_classes, (192, 76.82, 2.19, 17, 56), 0.25, "torchvision")


def regnety_16gf(*, in_channels: int = 3, num_classes: int = 1000) -> nn.Module:
    """RegNetY-16GF: 83,590,140 parameters."""
    return _regnet(in_channels, num_classes, (200, 106.23, 2.48, 18, 112), 0.25, "torchvision")


def regnety_32gf(*, in_channels: int = 3, num_classes: int = 1000) -> nn.Module:
    """RegNetY-32GF: 145,046,770 parameters."""
    return _regnet(in_channels, num_classes, (232, 115.89, 2.53, 20, 232), 0.25, "torchvision")

"""The ResNeXt block with free groups, of which AnyNet and RegNet are made (Xie et al., 2017; d2l 8.6).

n examples, c channels, h x w the size of a map.  A stride s leaves ceil(h / s) x ceil(w / s).  Tensor names are those
of torchvision's RegNet.
"""

from torch import Tensor, nn

from d2lcli.nn.checks import require_positive
from d2lcli.nn.squeeze_excitation import SqueezeExcitation


class ResNeXtBlock(nn.Module):
    """relu(f(x) + shortcut(x)), f a 1 x 1, a grouped 3 x 3 and a 1 x 1 convolution, each with batch norm.

    (n, in_channels, h, w) -> (n, out_channels, h/s, w/s).  Of b = round(bottleneck * out_channels) inner channels, each
    output of the 3 x 3 convolution sees one group: it costs 9 b^2 / groups = 9 b group_width multiply-adds a pixel.

    Args:
        in_channels, out_channels: of the block.  Where they differ, or s > 1, the shortcut is a 1 x 1 convolution.
        stride: s, taken by the 3 x 3 convolution and by the shortcut.
        bottleneck: inner channels over output channels.
        squeezed: channels inside the squeeze-excitation after the 3 x 3 convolution; 0 leaves it out.
        bias: whether the convolutions have biases.
        groups, group_width: how many groups there are, or how many channels each has: one of the two.

    Raises:
        ValueError: not exactly one of groups and group_width is given, or the inner channels are no multiple of it.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        stride: int = 1,
        bottleneck: float = 1.0,
        squeezed: int = 0,
        bias: bool = False,
        *,
        groups: int | None = None,
        group_width: int | None = None,
    ) -> None:
        super().__init__()
        inner = round(bottleneck * out_channels)
        groups = _number_of_groups(inner, groups, group_width)
        self.proj = None
        if stride > 1 or in_channels != out_channels:
            self.proj = conv_norm(in_channels, out_channels, 1, stride, bias=bias)
        self.f = nn.Sequential()
        self.f.add_module("a", conv_norm(in_channels, inner, 1, bias=bias).append(nn.ReLU(inplace=True)))
        self.f.add_module("b", conv_norm(inner, inner, 3, stride, groups, bias).append(nn.ReLU(inplace=True)))
        if squeezed:
            self.f.add_module("se", SqueezeExcitation(inner, squeezed))
        self.f.add_module("c", conv_norm(inner, out_channels, 1, bias=bias))
        self.activation = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.proj is None else self.proj(x)
        activated: Tensor = self.activation(self.f(x) + shortcut)
        return activated


def conv_norm(
    in_channels: int, out_channels: int, kernel: int, stride: int = 1, groups: int = 1, bias: bool = False
) -> nn.Sequential:
    """A convolution that keeps the side but for its stride, and batch norm."""
    padding = kernel // 2
    convolution = nn.Conv2d(in_channels, out_channels, kernel, stride, padding, groups=groups, bias=bias)
    return nn.Sequential(convolution, nn.BatchNorm2d(out_channels))


def _number_of_groups(channels: int, groups: int | None, group_width: int | None) -> int:
    if (groups is None) == (group_width is None):
        raise ValueError(f"Give exactly one of groups and group width; they are {groups} and {group_width}.")
    divisor = groups or group_width or 0
    require_positive(groups=groups, group_width=group_width)
    if channels < 1 or channels % divisor:
        raise ValueError(
            f"{'groups' if groups else 'group_width'} must divide the {channels} channels inside a block, "
            f"but it is {divisor}."
        )
    return groups or channels // divisor

"""Receptive fields against closed forms, published ones, and the extent of real gradients."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from d2lcli.registry import MODELS
from d2lcli.training.summary import Layer, summarize


def chain(*windows: tuple[int, int]) -> nn.Sequential:
    """Convolutions of one channel with (kernel, stride)."""
    return nn.Sequential(*(nn.Conv2d(1, 1, k, stride=s, padding=k // 2) for k, s in windows))


def last(model: nn.Module, shape: tuple[int, ...]) -> Layer:
    return summarize(model, shape).layers[-1]


def closed_form(*windows: tuple[int, int]) -> tuple[int, int]:
    """r = 1 + sum over layers of (k - 1) times the strides before; the stride is the product of all."""
    size, step = 1, 1
    for k, s in windows:
        size, step = size + (k - 1) * step, step * s
    return size, step


@pytest.mark.parametrize(
    ("windows", "size"),
    [
        ([(3, 1)] * 2, 5),  # two 3 x 3 see what one 5 x 5 sees
        ([(3, 1)] * 3, 7),
        ([(5, 1)], 5),
        ([(1, 1)] * 4, 1),
        ([(3, 2)] * 3, 15),
        ([(7, 2), (3, 2), (3, 1), (3, 1)], 27),
    ],
)
def test_chains(windows: list[tuple[int, int]], size: int) -> None:
    row = last(chain(*windows), (1, 64, 64))
    assert row.receptive_field == size
    assert (row.receptive_field, row.stride) == closed_form(*windows)


@pytest.mark.parametrize(("stack", "kernel", "fewer"), [(2, 5, 28), (3, 7, 45)])
def test_a_stack_of_3_by_3_sees_as_much_with_fewer_weights(stack: int, kernel: int, fewer: int) -> None:
    """18 c^2 instead of 25 c^2, and 27 c^2 instead of 49 c^2 (Simonyan and Zisserman, 2014)."""
    small = summarize(nn.Sequential(*(nn.Conv2d(8, 8, 3, bias=False) for _ in range(stack))), (8, 32, 32))
    large = summarize(nn.Conv2d(8, 8, kernel, bias=False), (8, 32, 32))
    assert small.layers[-1].receptive_field == large.layers[-1].receptive_field
    assert round(100 * (1 - small.parameters / large.parameters)) == fewer


def bottlenecks(depths: tuple[int, ...], stride_at: int) -> list[tuple[int, int]]:
    """The convolutions of ResNet-50 up to its last map, with the stride of a stage in its first or last block."""
    windows = [(7, 2), (3, 2)]
    for stage, depth in enumerate(depths):
        strided = [2 if block == stride_at % depth else 1 for block in range(depth)]
        no_stride = stage == 0 if stride_at == 0 else stage == len(depths) - 1
        for stride in [1] * depth if no_stride else strided:
            windows += [(1, 1), (3, stride), (1, 1)]
    return windows


def test_where_the_stride_stands() -> None:
    """Araujo et al. publish 483 for resnet_v1_50 of TF-Slim, which ends a stage with its stride; here it begins one."""
    slim = last(chain(*bottlenecks((3, 4, 6, 3), stride_at=-1)), (1, 64, 64))
    assert (slim.receptive_field, slim.stride) == (483, 32)
    ours = last(chain(*bottlenecks((3, 4, 6, 3), stride_at=0)), (1, 64, 64))
    assert (ours.receptive_field, ours.stride) == (427, 32)


@pytest.mark.parametrize(
    ("name", "layer", "size"),
    [
        # Araujo et al., Distill 2019: alexnet_v2 (which is alexnet_tv) 195, vgg_16 212, both after the last pooling.
        ("alexnet_tv", "features.12", 195),
        ("vgg16", "features.30", 212),
        # By the closed form above; two 3 x 3 in a basic block.
        ("resnet18", "layer4.1.relu", closed_form((7, 2), (3, 2), *[(3, 1)] * 4, *([(3, 2)] + [(3, 1)] * 3) * 3)[0]),
        ("resnet50", "layer4.2.relu", 427),
    ],
)
def test_published(name: str, layer: str, size: int) -> None:
    with torch.device("meta"):
        model = MODELS.build(name)
    rows = {row.name: row for row in summarize(model, (3, 224, 224)).layers}
    assert (rows[layer].receptive_field, rows[layer].stride) == (size, 32)
    assert summarize(model, (3, 224, 224)).layers[-1].receptive_field == math.inf


class Branches(nn.Module):
    """An inception block: paths of several sizes side by side, and one around them."""

    def __init__(self) -> None:
        super().__init__()
        self.small = nn.Conv2d(2, 2, 1)
        self.large = nn.Sequential(nn.Conv2d(2, 2, (1, 7), padding=(0, 3)), nn.Conv2d(2, 2, (7, 1), padding=(3, 0)))
        self.after = nn.Conv2d(6, 2, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.after(torch.cat([self.small(x), self.large(x), functional.avg_pool2d(x, 3, 1, 1)], dim=1))  # type: ignore[no-any-return]


class ChannelsLast(nn.Module):
    """As in ConvNeXt: a linear layer over the channels of each position."""

    def __init__(self) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(2, 2, 7, padding=3, groups=2)
        self.norm = nn.LayerNorm(2, elementwise_affine=False)
        self.linear = nn.Linear(2, 2)
        self.after = nn.Conv2d(2, 2, 3, stride=2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.linear(self.depthwise(x).permute(0, 2, 3, 1))
        return self.after(y.permute(0, 3, 1, 2))  # type: ignore[no-any-return]


class Patches(nn.Module):
    """As in a vision transformer before its attention: tokens, each of one patch."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = nn.Conv2d(2, 4, 4, stride=4)
        self.linear = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.linear(self.patch(x).flatten(2).transpose(1, 2))
        return tokens.transpose(1, 2).unflatten(2, (16, 16))  # type: ignore[no-any-return]


def extent(model: nn.Module, side: int) -> int:
    """How far the gradient of one output reaches, at most over the outputs in the middle; all weights are positive."""
    model = model.double().eval()
    for parameter in model.parameters():
        nn.init.constant_(parameter, 0.1)
    x = torch.ones(1, 2, side, side, dtype=torch.float64, requires_grad=True)
    y = model(x)
    middle = y.shape[-1] // 2
    longest = 0
    for row in range(middle - 2, middle + 2):
        (gradient,) = torch.autograd.grad(y[0, :, row, middle].sum(), x, retain_graph=True)
        reached = gradient[0].sum(dim=(0, 2)).nonzero()
        longest = max(longest, int(reached.max() - reached.min()) + 1)
    return longest


@pytest.mark.parametrize(
    "build",
    [
        lambda: nn.Sequential(nn.Conv2d(2, 2, 3), nn.Conv2d(2, 2, 3, dilation=3), nn.Conv2d(2, 2, 5, stride=2)),
        lambda: nn.Sequential(nn.Conv2d(2, 2, 5, stride=3), nn.AvgPool2d(3, stride=2), nn.Conv2d(2, 2, 3)),
        lambda: nn.Sequential(nn.Conv2d(2, 2, 3, padding=2, padding_mode="reflect"), nn.Conv2d(2, 2, 5, padding=2)),
        lambda: nn.Sequential(nn.ConvTranspose2d(2, 2, 4, stride=2, padding=1), nn.Conv2d(2, 2, 3)),
        lambda: nn.Sequential(nn.Conv2d(2, 2, 3, stride=2), nn.ConvTranspose2d(2, 2, 3, stride=2), nn.Conv2d(2, 2, 3)),
        lambda: nn.Sequential(nn.Conv2d(2, 2, 3), nn.AdaptiveAvgPool2d(31), nn.Conv2d(2, 2, 3)),
        lambda: nn.Sequential(nn.AvgPool2d(2), nn.Upsample(scale_factor=2, mode="bilinear"), nn.Conv2d(2, 2, 3)),
        lambda: nn.Sequential(nn.Conv2d(2, 8, 3), nn.PixelShuffle(2), nn.Identity()),
        Branches,
        ChannelsLast,
        Patches,
    ],
    ids=["dilated", "pooled", "padded", "transposed", "hourglass", "adaptive", "upsampled", "shuffled", "branches",
         "channels last", "patches"],
)  # fmt: skip
def test_the_extent_of_gradients(build: Callable[[], nn.Module]) -> None:
    model = build()
    for batch in (1, 3):
        field = [row.receptive_field for row in summarize(model, (2, 64, 64), batch_size=batch).layers][-1]
        assert field == extent(model, 64)


class SqueezeExcite(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Linear(2, 2)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale(x.mean((2, 3)))[:, :, None, None]  # type: ignore[no-any-return]


class Attention(nn.Module):
    """Of the positions of a map, by torch's function."""

    def forward(self, x: Tensor) -> Tensor:
        tokens = x.flatten(2).transpose(1, 2)
        return functional.scaled_dot_product_attention(tokens, tokens, tokens)


class Mixer(nn.Module):
    """A linear layer across positions."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(64, 64)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x.flatten(2))  # type: ignore[no-any-return]


class Rows(nn.Module):
    """A recurrent layer over the rows of an image."""

    def __init__(self) -> None:
        super().__init__()
        self.gru = nn.GRU(16, 4, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.gru(x.transpose(1, 2).flatten(2))[0]  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    "model",
    [
        nn.AdaptiveAvgPool2d(1), nn.AdaptiveMaxPool2d(1), nn.Sequential(nn.Flatten(), nn.Linear(128, 3)),
        nn.Sequential(nn.Flatten(2), nn.Softmax(dim=-1)), SqueezeExcite(), Attention(), Mixer(), Rows(),
        nn.Sequential(nn.Conv2d(2, 2, 8), nn.Flatten(), nn.Linear(2, 1)),
    ],
    ids=lambda model: type(model).__name__,
)  # fmt: skip
def test_what_sees_all(model: nn.Module) -> None:
    row = last(model, (2, 8, 8))
    assert (row.receptive_field, row.stride) == (math.inf, None)


def test_normalisation_and_channels_leave_the_field() -> None:
    model = nn.Sequential(
        nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.GroupNorm(2, 4), nn.LocalResponseNorm(2), nn.Softmax(dim=1),
        nn.Dropout(0.5), nn.GELU(), nn.Softmax2d(),
    )  # fmt: skip
    assert [row.receptive_field for row in summarize(model, (2, 8, 8)).layers] == [3.0] * len(model)


def test_sequences() -> None:
    """Along a signal, and along tokens: kernels of width 3 and 4."""
    signal = nn.Sequential(nn.Conv1d(2, 2, 3), nn.MaxPool1d(2), nn.Conv1d(2, 2, 3))
    assert last(signal, (2, 32)).receptive_field == closed_form((3, 1), (2, 2), (3, 1))[0]

    class Text(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding = nn.Embedding(10, 4)
            self.conv = nn.Conv1d(4, 4, 4)

        def forward(self, tokens: Tensor) -> Tensor:
            return self.conv(self.embedding(tokens).transpose(1, 2))  # type: ignore[no-any-return]

    rows = summarize(Text(), (9,), input_dtype=torch.long).layers
    assert [row.receptive_field for row in rows] == [1, 4]


def test_features_have_no_positions() -> None:
    assert last(nn.Linear(7, 3), (7,)).receptive_field is None

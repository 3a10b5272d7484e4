"""AnyNet and RegNet: tensor names, free stages, the rule of widths, the book's toy."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from d2lcli.models import regnet
from d2lcli.models.regnet import anynet, fit_groups, generate_widths, regnetx, regnetx32, regnety
from d2lcli.nn.squeeze_excitation import SqueezeExcitation
from d2lcli.training.summary import summarize


def on_meta(build: Callable[..., nn.Module], **options: object) -> nn.Module:
    with torch.device("meta"):
        return build(**options)


def count(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def stages(model: nn.Module) -> tuple[tuple[int, ...], tuple[int, ...], set[int]]:
    """Depths, widths and all group widths, read off the tensors."""
    trunk = [list(stage.children()) for stage in model.get_submodule("trunk_output").children()]
    widths = tuple(stage[0].get_parameter("f.c.0.weight").shape[0] for stage in trunk)
    groups = {block.get_parameter("f.b.0.weight").shape[1] for stage in trunk for block in stage}
    return tuple(len(stage) for stage in trunk), widths, groups


def test_names_and_shapes_are_torchvision_s() -> None:
    shapes = {name: tuple(value.shape) for name, value in on_meta(regnet.regnety_400mf).state_dict().items()}
    for name, shape in {
        "stem.0.weight": (32, 3, 3, 3),
        "stem.1.running_mean": (32,),
        "trunk_output.block1.block1-0.proj.0.weight": (48, 32, 1, 1),
        "trunk_output.block1.block1-0.proj.1.weight": (48,),
        "trunk_output.block1.block1-0.f.a.0.weight": (48, 32, 1, 1),
        "trunk_output.block1.block1-0.f.a.1.bias": (48,),
        "trunk_output.block1.block1-0.f.b.0.weight": (48, 8, 3, 3),
        "trunk_output.block1.block1-0.f.se.fc1.weight": (8, 48, 1, 1),  # a quarter of the 32 that enter the block
        "trunk_output.block1.block1-0.f.se.fc2.bias": (48,),
        "trunk_output.block1.block1-0.f.c.1.num_batches_tracked": (),
        "trunk_output.block4.block4-5.f.se.fc1.weight": (110, 440, 1, 1),
        "fc.weight": (1000, 440),
    }.items():
        assert shapes[name] == shape
    assert "trunk_output.block2.block2-1.proj.0.weight" not in shapes
    # 16 blocks of 3 convolutions and norms and 4 tensors of excitation, 4 shortcuts and the stem, fc
    assert len(shapes) == 16 * (3 * 6 + 4) + 5 * 6 + 2


def test_shapes_of_the_stages() -> None:
    """Each stage halves the side: 224, 112 after the stem, 56, 28, 14, 7."""
    rows = {row.name: row.output_shape for row in summarize(on_meta(regnetx), (3, 224, 224)).layers}
    assert rows["stem.2"] == (1, 32, 112, 112)
    for i, (depth, width, side) in enumerate([(1, 24, 56), (1, 56, 28), (4, 152, 14), (7, 368, 7)], start=1):
        assert rows[f"trunk_output.block{i}.block{i}-{depth - 1}.activation"] == (1, width, side, side)
    assert rows["avgpool"] == (1, 368, 1, 1)


def test_the_book_s_toy() -> None:
    """d2l 8.8.3: RegNetX-32, its layers at 1 x 96 x 96."""
    model = on_meta(regnetx32, in_channels=1, num_classes=10)
    assert count(model) == 179_290
    assert stages(model) == ((4, 6), (32, 80), {16})
    rows = {row.name: row.output_shape for row in summarize(model, (1, 96, 96)).layers}
    assert rows["stem.2"] == (1, 32, 48, 48)
    assert rows["trunk_output.block1.block1-3.activation"] == (1, 32, 24, 24)
    assert rows["trunk_output.block2.block2-5.activation"] == (1, 80, 12, 12)
    assert rows["fc"] == (1, 10)
    free = on_meta(
        anynet, in_channels=1, num_classes=10, depths=[4, 6], widths=[32, 80], group_widths=16, variant="d2l"
    )
    assert free.state_dict().keys() == model.state_dict().keys()
    assert count(free) == 179_290


def test_anynet_has_17_free_numbers() -> None:
    """One width of the stem; four depths, widths, bottlenecks and groups.  Each of them changes the network."""
    base: dict[str, Any] = {
        "depths": [1, 1, 1, 1],
        "widths": [8, 16, 24, 32],
        "bottlenecks": [1.0, 1.0, 1.0, 1.0],
        "group_widths": [4, 4, 4, 4],
    }
    counts = [count(on_meta(anynet, stem_width=16, **base)), count(on_meta(anynet, stem_width=8, **base))]
    for name, other in (("depths", 2), ("widths", 40), ("bottlenecks", 0.5), ("group_widths", 8)):
        for i in range(4):
            values = [*base[name][:i], other, *base[name][i + 1 :]]
            counts.append(count(on_meta(anynet, stem_width=16, **base | {name: values})))
    assert len(counts) == 1 + 17
    assert counts[0] not in counts[1:]


def test_one_number_is_for_all_stages() -> None:
    apart = on_meta(anynet, bottlenecks=[0.5] * 4, group_widths=[4] * 4)
    shared = on_meta(anynet, bottlenecks=0.5, group_widths=4)
    assert {k: v.shape for k, v in apart.state_dict().items()} == {k: v.shape for k, v in shared.state_dict().items()}
    by_number = on_meta(anynet, groups=[3, 7, 19, 46], group_widths=None)
    assert stages(by_number) == stages(on_meta(anynet))


def test_generate_widths_by_hand() -> None:
    """w0 = 8, wa = 8, wm = 2, so u = 8, 16, 24, 32, 40, 48, 56, 64.  Halfway on the scale of logarithms between 16 and
    32 is 22.6, between 32 and 64 it is 45.3: 24, 32 and 40 become 32, the last three 64."""
    assert generate_widths(8, 8.0, 2.0, 8) == ([8, 16, 32, 64], [1, 1, 3, 3])
    assert generate_widths(24, 0.0, 2.5, 5) == ([24], [5])


@pytest.mark.parametrize(("w0", "wa", "wm", "depth"), [(24, 36.44, 2.49, 13), (80, 49.56, 2.88, 23), (8, 3, 1.1, 40)])
def test_properties_of_widths(w0: int, wa: float, wm: float, depth: int) -> None:
    widths, depths = generate_widths(w0, wa, wm, depth)
    assert sum(depths) == depth
    assert widths == sorted(set(widths))
    assert widths[0] == w0
    assert all(width % 8 == 0 for width in widths)
    blocks = [width for width, d in zip(widths, depths, strict=True) for _ in range(d)]
    for j, width in enumerate(blocks):  # within half a power of the line, but for the rounding to 8
        assert (w0 + wa * j) * wm**-0.5 - 4.01 <= width <= (w0 + wa * j) * wm**0.5 + 4.01


@pytest.mark.parametrize(
    ("width", "group_width", "bottleneck", "nearest", "torchvision"),
    [
        (392, 16, 1.0, 384, 400),  # 24.5 groups: RegNetX-400MF
        (136, 16, 1.0, 128, 144),  # 8.5 groups: RegNetY-800MF
        (192, 56, 1.0, 168, 224),  # 3.43 groups; 168 is below nine tenths of 192: RegNetY-8GF
        (88, 48, 1.0, 96, 96),
        (24, 8, 1.0, 24, 24),
        (64, 24, 0.5, 48, 96),  # 32 inner channels become 24, or 48
        (8, 24, 1.0, 8, 8),  # one group of all channels
        (12, 3, 4.0, 12, 12),  # 48 inner channels, a multiple of 3 and of 4
    ],
)
def test_fit_groups(width: int, group_width: int, bottleneck: float, nearest: int, torchvision: int) -> None:
    narrowed = min(group_width, int(width * bottleneck))
    assert fit_groups([width], [group_width], [bottleneck]) == ([nearest], [narrowed])
    assert fit_groups([width], [group_width], [bottleneck], "torchvision") == ([torchvision], [narrowed])


def test_fitted_stages_always_build() -> None:
    for bottleneck in (0.25, 0.5, 1.0, 2.0, 4.0):
        for group_width in (1, 3, 8, 24, 56, 1000):
            for widths in ([8, 24, 56], [9, 31, 200]):
                fitted, groups = fit_groups(widths, [group_width] * 3, [bottleneck] * 3)
                on_meta(anynet, depths=[1, 1, 2], widths=fitted, bottlenecks=bottleneck, group_widths=groups)


def test_squeeze_excitation_scales_channels() -> None:
    """With zero weights and biases every scale is sigmoid(0) = 1/2; a large bias opens or closes one channel."""
    layer = SqueezeExcitation(3, 2)
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    x = torch.randn(2, 3, 4, 5)
    torch.testing.assert_close(layer(x), x / 2)
    with torch.no_grad():
        layer.fc2.bias[:] = torch.tensor([100.0, -100.0, 0.0])  # type: ignore[index]
    torch.testing.assert_close(layer(x), x * torch.tensor([1.0, 0.0, 0.5])[:, None, None])


def test_initial_weights() -> None:
    """torchvision: a normal of variance 2 / (k k out), 0.01 in the last layer.  The book's: Xavier's uniform."""
    torch.manual_seed(0)
    model = regnetx()
    assert model.get_parameter("stem.0.weight").var().item() == pytest.approx(2 / (9 * 32), rel=0.1)
    weight = model.get_parameter("trunk_output.block4.block4-6.f.b.0.weight")
    assert weight.var().item() == pytest.approx(2 / (9 * 368), rel=0.03)
    assert model.get_parameter("fc.weight").std().item() == pytest.approx(0.01, rel=0.01)
    assert not model.get_parameter("fc.bias").any()
    weight = regnetx32().get_parameter("trunk_output.block2.block2-5.f.a.0.weight")
    bound = (6 / 160) ** 0.5
    assert 0.99 * bound < weight.abs().max().item() <= bound


@pytest.mark.parametrize("build", [anynet, regnetx32, regnety])
@pytest.mark.parametrize("size", [1, 2, 17, 33])
def test_any_image_size(build: Callable[..., nn.Module], size: int) -> None:
    model = on_meta(build, num_classes=7).eval()
    assert model(torch.empty(2, 3, size, size, device="meta")).shape == (2, 7)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"depths": [1, 1]}, "one number for each stage, but have 2 and 4"),
        ({"depths": [], "widths": []}, "but have 0 and 0"),
        ({"depths": [1, 1, 0, 1]}, r"depths\[2\] must be at least 1, but it is 0"),
        ({"widths": [8, 8, 0, 8]}, r"widths\[2\] must be at least 1, but it is 0"),
        ({"bottlenecks": [1.0]}, "bottlenecks must be one number, or one for each of 4 stages, but it has 1"),
        ({"groups": 4}, "exactly one of groups and group width; they are 4 and 8"),
        ({"group_widths": None}, "exactly one of groups and group width; they are None and None"),
        ({"group_widths": 5}, "group_width must divide the 24 channels"),
        ({"stem_width": 0}, "stem_width must be at least 1, but it is 0"),
    ],
)
def test_stages_that_do_not_fit(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        on_meta(anynet, **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"w0": 20}, "w0 must be a multiple of 8, wa at least 0 and wm above 1, but they are 20, 36.44 and 2.49"),
        ({"wa": -1.0}, "but they are 24, -1.0 and 2.49"),
        ({"wm": 1.0}, "but they are 24, 36.44 and 1.0"),
        ({"depth": 0}, "depth must be at least 1, but it is 0"),
        ({"group_width": 0}, "group_width must be at least 1, but it is 0"),
    ],
)
def test_lines_that_are_none(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        on_meta(regnetx, **options)


def test_regnety_wants_an_excitation() -> None:
    with pytest.raises(ValueError, match=r"se_ratio must be above 0, but it is 0.0"):
        on_meta(regnety, se_ratio=0.0)

"""The named RegNets: published counts, multiply-adds and stages."""

from collections.abc import Callable

import pytest
import torch
from torch import nn

from d2lcli.models import regnet
from d2lcli.models.regnet import regnety
from d2lcli.training.summary import summarize

# Parameters, billions of multiply-adds at 224 x 224, depths, widths and group width of the stages.  Parameters and
# multiply-adds are torchvision's published ones; where it has no such network, parameters are timm's and multiply-adds
# the paper's, with one decimal.  The stages are those of the paper's tables 1 and 2, for _tv torchvision's.
FAMILIES: dict[str, tuple[int, str, tuple[int, ...], tuple[int, ...], int]] = {
    "regnetx_200mf": (2_684_792, "0.2", (1, 1, 4, 7), (24, 56, 152, 368), 8),
    "regnetx_400mf": (5_157_512, "0.4", (1, 2, 7, 12), (32, 64, 160, 384), 16),
    "regnetx_400mf_tv": (5_495_976, "0.414", (1, 2, 7, 12), (32, 64, 160, 400), 16),
    "regnetx_600mf": (6_196_040, "0.6", (1, 3, 5, 7), (48, 96, 240, 528), 24),
    "regnetx_800mf": (7_259_656, "0.800", (1, 3, 7, 5), (64, 128, 288, 672), 16),
    "regnetx_1_6gf": (9_190_136, "1.603", (2, 4, 10, 2), (72, 168, 408, 912), 24),
    "regnetx_3_2gf": (15_296_552, "3.177", (2, 6, 15, 2), (96, 192, 432, 1008), 48),
    "regnetx_4gf": (22_118_248, "4.0", (2, 5, 14, 2), (80, 240, 560, 1360), 40),
    "regnetx_6_4gf": (26_209_256, "6.5", (2, 4, 10, 1), (168, 392, 784, 1624), 56),
    "regnetx_8gf": (39_572_648, "7.995", (2, 5, 15, 1), (80, 240, 720, 1920), 120),
    "regnetx_12gf": (46_106_056, "12.1", (2, 5, 11, 1), (224, 448, 896, 2240), 112),
    "regnetx_16gf": (54_278_536, "15.941", (2, 6, 13, 1), (256, 512, 896, 2048), 128),
    "regnetx_32gf": (107_811_560, "31.736", (2, 7, 13, 1), (336, 672, 1344, 2520), 168),
    "regnety_400mf": (4_344_144, "0.402", (1, 3, 6, 6), (48, 104, 208, 440), 8),
    "regnety_800mf": (6_432_512, "0.834", (1, 3, 8, 2), (64, 144, 320, 784), 16),  # the paper: 128 and 768
    "regnety_1_6gf": (11_202_430, "1.612", (2, 6, 17, 2), (48, 120, 336, 888), 24),
    "regnety_3_2gf": (19_436_338, "3.176", (2, 5, 13, 1), (72, 216, 576, 1512), 24),
    "regnety_8gf": (39_381_472, "8.473", (2, 4, 10, 1), (224, 448, 896, 2016), 56),  # the paper: 168
    "regnety_16gf": (83_590_140, "15.912", (2, 4, 11, 1), (224, 448, 1232, 3024), 112),
    "regnety_32gf": (145_046_770, "32.280", (2, 5, 12, 1), (232, 696, 1392, 3712), 232),
}


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


@pytest.mark.parametrize("name", FAMILIES)
def test_published_figures(name: str) -> None:
    parameters, billions, depths, widths, group_width = FAMILIES[name]
    model = on_meta(getattr(regnet, name))
    assert stages(model) == (depths, widths, {min(width, group_width) for width in widths})
    summary = summarize(model, (3, 224, 224))
    assert summary.parameters == parameters
    assert f"{summary.multiply_adds / 1e9:.{len(billions.partition('.')[2])}f}" == billions


def test_every_named_network_is_in_the_table() -> None:
    assert {name for name in vars(regnet) if name.startswith(("regnetx_", "regnety_"))} == set(FAMILIES)


def test_regnety_128gf_from_its_line() -> None:
    """torchvision: 644,812,894 parameters, 127.518 billion multiply-adds."""
    summary = summarize(on_meta(regnety, w0=456, wa=160.83, wm=2.52, depth=27, group_width=264), (3, 224, 224))
    assert summary.parameters == 644_812_894
    assert round(summary.multiply_adds / 1e9, 3) == 127.518


def test_the_paper_s_widths_where_torchvision_rounds_up() -> None:
    """timm: regnety_008 has 6,263,168 parameters, regnety_080 39,180,068."""
    paper = on_meta(regnety, w0=56, wa=38.84, wm=2.4, depth=14, group_width=16)
    assert (count(paper), stages(paper)[1]) == (6_263_168, (64, 128, 320, 768))
    paper = on_meta(regnety, w0=192, wa=76.82, wm=2.19, depth=17, group_width=56)
    assert (count(paper), stages(paper)[1]) == (39_180_068, (168, 448, 896, 2016))

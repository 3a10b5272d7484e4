"""VGG: published counts and multiply-adds, torchvision's names, width, batch norm, the smallest image."""

from collections.abc import Callable

import pytest
import torch
from torch import nn

from d2lcli.models.vgg import vgg11, vgg13, vgg16, vgg19
from d2lcli.training.summary import summarize

# torchvision's published parameters, those with batch norm, and billions of multiply-adds at 224 x 224
PUBLISHED = [
    (vgg11, 132_863_336, 132_868_840, 7.609),
    (vgg13, 133_047_848, 133_053_736, 11.308),
    (vgg16, 138_357_544, 138_365_992, 15.470),
    (vgg19, 143_667_240, 143_678_248, 19.632),
]
BUILDERS = [row[0] for row in PUBLISHED]


def on_meta(build: Callable[..., nn.Module], **options: object) -> nn.Module:
    with torch.device("meta"):
        return build(**options)


def count(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize(("build", "parameters", "normed", "billions"), PUBLISHED)
def test_published_figures(build: Callable[..., nn.Module], parameters: int, normed: int, billions: float) -> None:
    for adaptive_pool in (False, True):
        summary = summarize(on_meta(build, adaptive_pool=adaptive_pool), (3, 224, 224))
        assert summary.parameters == parameters
        assert round(summary.multiply_adds / 1e9, 3) == billions
    assert count(on_meta(build, batch_norm=True)) == normed


@pytest.mark.parametrize("build", BUILDERS)
def test_layers_with_weights_are_the_number_in_the_name(build: Callable[..., nn.Module]) -> None:
    layers = [module for module in on_meta(build).modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    assert f"vgg{len(layers)}" == build.__name__


def test_shapes_of_the_book() -> None:
    """d2l 8.2: layer_summary((1, 1, 224, 224)) of VGG-11."""
    rows = summarize(on_meta(vgg11, in_channels=1, num_classes=10), (1, 224, 224)).layers
    blocks = [row.output_shape[1:] for row in rows if row.type == "MaxPool2d"]
    assert blocks == [(64, 112, 112), (128, 56, 56), (256, 28, 28), (512, 14, 14), (512, 7, 7)]
    assert [row.output_shape[1:] for row in rows if row.type == "Linear"] == [(4096,), (4096,), (10,)]


def test_the_width_multiplies_the_convolutions_alone() -> None:
    """d2l 8.2 trains VGG-11 with (16, 32, 64, 128, 128) channels, and linear layers of 4,096 units."""
    model = on_meta(vgg11, width=0.25, in_channels=1, num_classes=10)
    channels = [module.out_channels for module in model.modules() if isinstance(module, nn.Conv2d)]
    assert channels == [16, 32, 64, 64, 128, 128, 128, 128]
    pairs = zip([1, *channels], channels, strict=False)
    convolutions = sum((9 * before + 1) * after for before, after in pairs)
    assert count(model) == convolutions + (128 * 49 + 1) * 4096 + 4097 * 4096 + 4097 * 10 == 43_093_322
    assert min(m.out_channels for m in on_meta(vgg11, width=0.001).modules() if isinstance(m, nn.Conv2d)) == 1
    for width in (0, -1.0, 65.0, float("nan")):
        with pytest.raises(ValueError, match="width must be above 0"):
            on_meta(vgg11, width=width)


@pytest.mark.parametrize(("size", "side"), [(32, 1), (63, 1), (64, 2), (96, 3), (224, 7)])
def test_the_first_linear_layer_grows_with_the_image(size: int, side: int) -> None:
    model = on_meta(vgg11, image_size=size, num_classes=7)
    assert model.get_submodule("classifier.0").in_features == 512 * side**2
    assert model(torch.empty(2, 3, size, size, device="meta")).shape == (2, 7)
    adaptive = on_meta(vgg11, image_size=size, num_classes=7, adaptive_pool=True)
    assert adaptive.get_submodule("classifier.0").in_features == 512 * 49
    assert adaptive(torch.empty(2, 3, size, size, device="meta")).shape == (2, 7)


@pytest.mark.parametrize("build", BUILDERS)
def test_smallest_image(build: Callable[..., nn.Module]) -> None:
    with pytest.raises(ValueError, match="at least 32 x 32, but image_size is 31"):
        on_meta(build, image_size=31)


def test_names_are_torchvision_s() -> None:
    names = {name.rpartition(".")[0] for name in on_meta(vgg16).state_dict()}
    features = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)
    assert names == {*(f"features.{n}" for n in features), "classifier.0", "classifier.3", "classifier.6"}
    normed = on_meta(vgg11, batch_norm=True).state_dict()
    assert {name.rpartition(".")[0] for name in normed if "running" in name} == {
        f"features.{n}" for n in (1, 5, 9, 12, 16, 19, 23, 26)
    }
    assert len(normed) == 8 * 7 + 3 * 2


def test_initial_weights() -> None:
    """He's by fan_out: a 3 x 3 convolution to 512 channels has variance 2 / (9 * 512); linear ones N(0, 0.01^2)."""
    torch.manual_seed(0)
    model = vgg11(image_size=32)
    assert model.get_parameter("features.18.weight").var().item() == pytest.approx(2 / (9 * 512), rel=0.01)
    assert model.get_parameter("classifier.3.weight").std().item() == pytest.approx(0.01, rel=0.01)
    biases = [value for name, value in model.named_parameters() if name.endswith("bias")]
    assert not any(bias.any() for bias in biases)


def test_bad_sizes() -> None:
    with pytest.raises(ValueError, match="in_channels must be at least 1, but it is 0"):
        vgg19(in_channels=0)

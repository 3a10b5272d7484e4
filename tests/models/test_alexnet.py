"""AlexNet: published counts, the book's table of shapes, the smallest images, torchvision's names, initial weights."""

from collections.abc import Callable

import pytest
import torch
from torch import nn

from d2lcli.models.alexnet import alexnet, alexnet_2012, alexnet_tv
from d2lcli.training.summary import summarize


def on_meta(build: Callable[..., nn.Module], **options: object) -> nn.Module:
    with torch.device("meta"):
        return build(**options)


def count(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def test_parameters_of_the_book_s_network() -> None:
    """Sums over the layers: 11 x 11, 5 x 5 and 3 x 3 kernels, then 6400-4096-4096 units."""
    for channels, classes in ((1, 10), (1, 1000), (3, 1000)):
        convolutions = 96 * (channels * 121 + 1) + 614_656 + 885_120 + 1_327_488 + 884_992
        linear = 6401 * 4096 + 4097 * 4096 + 4097 * classes
        assert count(on_meta(alexnet, in_channels=channels, num_classes=classes)) == convolutions + linear
    assert count(on_meta(alexnet, in_channels=1, num_classes=10)) == 46_764_746
    assert count(on_meta(alexnet)) == 50_844_008


def test_parameters_of_the_published_networks() -> None:
    """Krizhevsky et al. (2012), "60 million parameters", counted; torchvision's published count."""
    assert count(on_meta(alexnet_2012)) == 60_965_224
    assert count(on_meta(alexnet_2012, grouped=False)) == 62_378_344
    assert count(on_meta(alexnet_tv)) == 61_100_840


def test_multiply_adds() -> None:
    """torchvision publishes 0.714 billion; the paper's five convolutions and three linear layers by hand."""
    assert round(summarize(on_meta(alexnet_tv), (3, 224, 224)).multiply_adds / 1e9, 3) == 0.714
    convolutions = 55**2 * 96 * 363 + 27**2 * 256 * 1200 + 13**2 * (384 * 2304 + 384 * 1728 + 256 * 1728)
    linear = 9216 * 4096 + 4096 * 4096 + 4096 * 1000
    assert summarize(on_meta(alexnet_2012), (3, 224, 224)).multiply_adds == convolutions + linear


def test_shapes_of_the_book() -> None:
    """d2l 8.1: layer_summary((1, 1, 224, 224))."""
    model = on_meta(alexnet, in_channels=1, num_classes=10)
    layers = summarize(model, (1, 224, 224)).layers
    shapes = [row.output_shape[1:] for row in layers if row.type in ("Conv2d", "MaxPool2d", "Linear")]
    assert shapes == [
        (96, 54, 54),
        (96, 26, 26),
        (256, 26, 26),
        (256, 12, 12),
        (384, 12, 12),
        (384, 12, 12),
        (256, 12, 12),
        (256, 5, 5),
        (4096,),
        (4096,),
        (10,),
    ]
    assert model.get_submodule("classifier.0").in_features == 6400


@pytest.mark.parametrize(("build", "smallest"), [(alexnet, 65), (alexnet_2012, 63)])
def test_smallest_image(build: Callable[..., nn.Module], smallest: int) -> None:
    """A side of s leaves (s + 2p - 11) // 4 + 1 and then (side - 3) // 2 + 1 three times: 15, 7, 3, 1 at the least."""
    model = on_meta(build, image_size=smallest, num_classes=7)
    assert model.get_submodule("classifier.0").in_features == 256
    assert model(torch.empty(2, 3, smallest, smallest, device="meta")).shape == (2, 7)
    with pytest.raises(ValueError, match=f"at least {smallest} x {smallest}, but image_size is {smallest - 1}"):
        build(image_size=smallest - 1)


@pytest.mark.parametrize("size", [66, 96, 113, 128, 225])
@pytest.mark.parametrize("build", [alexnet, alexnet_2012])
def test_the_linear_layers_fit_any_image(build: Callable[..., nn.Module], size: int) -> None:
    model = on_meta(build, image_size=size, num_classes=7)
    assert model(torch.empty(2, 3, size, size, device="meta")).shape == (2, 7)


def test_names_and_shapes_are_torchvision_s() -> None:
    shapes = {name: tuple(value.shape) for name, value in on_meta(alexnet_tv).state_dict().items()}
    assert {name: shape for name, shape in shapes.items() if name.endswith("weight")} == {
        "features.0.weight": (64, 3, 11, 11),
        "features.3.weight": (192, 64, 5, 5),
        "features.6.weight": (384, 192, 3, 3),
        "features.8.weight": (256, 384, 3, 3),
        "features.10.weight": (256, 256, 3, 3),
        "classifier.1.weight": (4096, 9216),
        "classifier.4.weight": (4096, 4096),
        "classifier.6.weight": (1000, 4096),
    }
    assert len(shapes) == 16


def test_dropout_is_an_option() -> None:
    for build in (alexnet, alexnet_2012, alexnet_tv):
        layers = [layer for layer in on_meta(build, dropout=0.2).modules() if isinstance(layer, nn.Dropout)]
        assert [layer.p for layer in layers] == [0.2, 0.2]


def test_initial_weights_as_published() -> None:
    """Krizhevsky et al. (2012), section 5: N(0, 0.01^2); biases 1 in layers 2, 4, 5 and the hidden linear ones."""
    torch.manual_seed(0)
    model = alexnet_2012(num_classes=10, image_size=63)
    layers = [layer for layer in model.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
    assert [set(layer.bias.tolist()) for layer in layers] == [{0}, {1}, {0}, {1}, {1}, {1}, {1}, {0}]
    assert all(layer.weight.std().item() == pytest.approx(0.01, rel=0.02) for layer in layers)


def test_bad_sizes() -> None:
    for build in (alexnet, alexnet_2012, alexnet_tv):
        with pytest.raises(ValueError, match="num_classes must be at least 1, but it is 0"):
            build(num_classes=0)

"""DenseNet: published counts, multiply-adds and tensor names, the book's network and blocks."""

from collections.abc import Callable

import pytest
import torch
from torch import nn

from d2lcli.models.densenet import (
    DenseBlock,
    DenseLayer,
    Transition,
    densenet,
    densenet121,
    densenet161,
    densenet169,
    densenet201,
)
from d2lcli.training.summary import summarize

# torchvision's published parameters and billions of multiply-adds at 224 x 224
PUBLISHED = [
    (densenet121, 7_978_856, 2.834),
    (densenet161, 28_681_000, 7.728),
    (densenet169, 14_149_480, 3.360),
    (densenet201, 20_013_928, 4.291),
]


def on_meta(build: Callable[..., nn.Module], **options: object) -> nn.Module:
    with torch.device("meta"):
        return build(**options)


def count(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize(("build", "parameters", "billions"), PUBLISHED)
def test_published_figures(build: Callable[..., nn.Module], parameters: int, billions: float) -> None:
    summary = summarize(on_meta(build), (3, 224, 224))
    assert summary.parameters == parameters
    assert round(summary.multiply_adds / 1e9, 3) == billions


@pytest.mark.parametrize("build", [densenet121, densenet161, densenet169, densenet201])
def test_layers_with_weights_are_the_number_in_the_name(build: Callable[..., nn.Module]) -> None:
    layers = [module for module in on_meta(build).modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    assert f"densenet{len(layers)}" == build.__name__


def test_names_and_shapes_are_torchvision_s() -> None:
    shapes = {name: tuple(value.shape) for name, value in on_meta(densenet121).state_dict().items()}
    assert len(shapes) == 727  # 120 convolutions, 5 tensors for each of 121 batch norms, 2 of the classifier
    for name, shape in {
        "features.conv0.weight": (64, 3, 7, 7),
        "features.norm0.running_var": (64,),
        "features.denseblock1.denselayer1.norm1.weight": (64,),
        "features.denseblock1.denselayer1.conv1.weight": (128, 64, 1, 1),
        "features.denseblock1.denselayer1.norm2.num_batches_tracked": (),
        "features.denseblock1.denselayer6.conv2.weight": (32, 128, 3, 3),
        "features.transition1.norm.bias": (256,),
        "features.transition1.conv.weight": (128, 256, 1, 1),
        "features.denseblock4.denselayer16.conv1.weight": (128, 992, 1, 1),
        "features.norm5.weight": (1024,),
        "classifier.weight": (1000, 1024),
        "classifier.bias": (1000,),
    }.items():
        assert shapes[name] == shape


def test_the_book_s_network() -> None:
    """d2l 8.7.4, at 96 x 96: four blocks of four layers, each of which adds 32 channels."""
    model = on_meta(densenet, in_channels=1, num_classes=10)
    assert count(model) == 758_226
    rows = {row.name: row.output_shape[1:] for row in summarize(model, (1, 96, 96)).layers}
    assert rows["features.pool0"] == (64, 24, 24)
    channels, side = 64, 24
    for block in (1, 2, 3, 4):
        for layer in (1, 2, 3, 4):
            assert rows[f"features.denseblock{block}.denselayer{layer}.norm1"] == (channels, side, side)
            assert rows[f"features.denseblock{block}.denselayer{layer}.conv1"] == (32, side, side)
            channels += 32
        assert channels == {1: 192, 2: 224, 3: 240, 4: 248}[block]
        if block < 4:
            channels, side = channels // 2, side // 2
            assert rows[f"features.transition{block}.pool"] == (channels, side, side)
            assert channels == {1: 96, 2: 112, 3: 120}[block]
    assert rows["features.norm5"] == (248, 3, 3)
    assert rows["avgpool"] == (248, 1, 1)


@pytest.mark.parametrize("arch", [(1,), (2, 3), (1, 2, 3, 4, 5)])
@pytest.mark.parametrize(("growth_rate", "stem_channels"), [(4, 16), (12, 24)])
def test_channels_of_any_arch(arch: tuple[int, ...], growth_rate: int, stem_channels: int) -> None:
    """After a block in + n k, after a transition half of it, rounded down."""
    model = on_meta(densenet, arch=arch, growth_rate=growth_rate, stem_channels=stem_channels, num_classes=7)
    channels = stem_channels
    for depth in arch[:-1]:
        channels = (channels + depth * growth_rate) // 2
    assert model.get_parameter("classifier.weight").shape == (7, channels + arch[-1] * growth_rate)


def test_the_book_s_blocks() -> None:
    """d2l 8.7.2 and 8.7.3: 3 channels and two layers of 10 give 23; a transition to 10 halves the side."""
    x = torch.randn(4, 3, 8, 8)
    y = DenseBlock(2, 3, 10)(x)
    assert y.shape == (4, 23, 8, 8)
    assert torch.equal(y[:, :3], x)
    assert Transition(23, 10)(y).shape == (4, 10, 4, 4)


@pytest.mark.parametrize("bottleneck", [0, 4])
def test_a_layer_is_norm_relu_convolution(bottleneck: int) -> None:
    layer = DenseLayer(5, 3, bottleneck)
    kinds = [type(module) for module in layer]
    assert kinds == [nn.BatchNorm2d, nn.ReLU, nn.Conv2d] * (2 if bottleneck else 1)
    assert [module.out_channels for module in layer if isinstance(module, nn.Conv2d)] == (
        [12, 3] if bottleneck else [3]
    )
    x = torch.randn(2, 5, 4, 4)
    before = x.clone()
    assert layer(x).shape == (2, 3, 4, 4)
    assert torch.equal(x, before)  # the relu works in place on the output of the norm, not on x


def test_initial_weights() -> None:
    """torchvision: He's normal by fan_in, 9 * 128 at a second convolution; no bias at the end.  The book's: Xavier."""
    torch.manual_seed(0)
    model = densenet121(num_classes=10)
    weight = model.get_parameter("features.denseblock4.denselayer16.conv1.weight")
    assert weight.var().item() == pytest.approx(2 / 992, rel=0.03)
    assert not model.get_parameter("classifier.bias").any()
    weight = densenet().get_parameter("features.denseblock4.denselayer4.conv1.weight")
    bound = (6 / (9 * (216 + 32))) ** 0.5
    assert 0.99 * bound < weight.abs().max().item() <= bound


@pytest.mark.parametrize("build", [densenet, densenet121])
@pytest.mark.parametrize(("size", "fits"), [(29, True), (28, False)])
def test_the_smallest_image(build: Callable[..., nn.Module], size: int, fits: bool) -> None:
    """ceil(29 / 4) = 8, halved three times, is 1."""
    model = on_meta(build).eval()
    images = torch.empty(2, 3, size, size, device="meta")
    if fits:
        assert model(images).shape == (2, 1000)
    else:
        with pytest.raises(RuntimeError, match="too small"):
            model(images)


@pytest.mark.parametrize("blocks", [1, 2, 3, 4, 5, 6])
def test_the_smallest_image_is_found_for_any_arch(blocks: int) -> None:
    """Where the builder sees no room, there is none, and where it sees some, the map before the end is one pixel."""
    model = on_meta(densenet, arch=(1,) * blocks).eval()
    sizes = []
    for size in range(1, 130):
        try:
            on_meta(densenet, arch=(1,) * blocks, image_size=size)
            sizes.append(size)
        except ValueError:
            continue
    assert model(torch.empty(1, 3, sizes[0], sizes[0], device="meta")).shape == (1, 1000)
    if sizes[0] > 1:
        with pytest.raises(RuntimeError, match="too small"):
            model(torch.empty(1, 3, sizes[0] - 1, sizes[0] - 1, device="meta"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_classes": 0}, "num_classes must be at least 1, but it is 0"),
        ({"growth_rate": 0}, "growth_rate must be at least 1, but it is 0"),
        ({"arch": (4, 0)}, r"arch\[1\] must be at least 1, but it is 0"),
        ({"arch": ()}, "at least one block"),
        ({"image_size": 28}, "image_size must be at least 29 for a DenseNet of 4 blocks, but it is 28"),
        ({"image_size": 60, "arch": (1,) * 5}, "image_size must be at least 61 for a DenseNet of 5 blocks"),
    ],
)
def test_bad_sizes(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        densenet(**options)  # type: ignore[arg-type]

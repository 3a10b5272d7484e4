"""Residual networks: published counts, multiply-adds and tensor names, the book's block, its shapes."""

from collections.abc import Callable

import pytest
import torch
from torch import nn

from d2lcli.models.resnet import BasicBlock, Bottleneck, resnet18, resnet34, resnet50, resnet101, resnet152
from d2lcli.training.summary import summarize

# torchvision's published parameters and billions of multiply-adds at 224 x 224
PUBLISHED = [
    (resnet18, 11_689_512, 1.814),
    (resnet34, 21_797_672, 3.664),
    (resnet50, 25_557_032, 4.089),
    (resnet101, 44_549_160, 7.801),
    (resnet152, 60_192_808, 11.514),
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


@pytest.mark.parametrize("build", [resnet18, resnet34, resnet50, resnet101, resnet152])
def test_layers_with_weights_on_the_main_path_are_the_number_in_the_name(build: Callable[..., nn.Module]) -> None:
    model = on_meta(build)
    layers = [name for name, module in model.named_modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    assert f"resnet{sum('downsample' not in name for name in layers)}" == build.__name__


def test_the_book_s_variant() -> None:
    assert count(on_meta(resnet18, variant="d2l", in_channels=1, num_classes=10)) == 11_178_378
    model = on_meta(resnet50, variant="d2l")
    convolutions = [module for module in model.modules() if isinstance(module, nn.Conv2d)]
    assert all(module.bias is not None for module in convolutions)
    # a bias for each output channel more than torchvision's, and the batch norms of the shortcuts (2 a channel) less
    shortcuts = 256 + 512 + 1024 + 2048
    assert count(model) == 25_557_032 + sum(module.out_channels for module in convolutions) - 2 * shortcuts


def test_names_and_shapes_are_torchvision_s() -> None:
    shapes = {name: tuple(value.shape) for name, value in on_meta(resnet50).state_dict().items()}
    assert len(shapes) == 320  # 53 convolutions, 5 tensors for each of 53 batch norms, 2 of fc
    for name, shape in {
        "conv1.weight": (64, 3, 7, 7),
        "bn1.running_mean": (64,),
        "layer1.0.conv1.weight": (64, 64, 1, 1),
        "layer1.0.conv3.weight": (256, 64, 1, 1),
        "layer1.0.downsample.0.weight": (256, 64, 1, 1),
        "layer1.0.downsample.1.num_batches_tracked": (),
        "layer2.0.conv2.weight": (128, 128, 3, 3),
        "layer4.2.bn3.bias": (2048,),
        "fc.weight": (1000, 2048),
        "fc.bias": (1000,),
    }.items():
        assert shapes[name] == shape
    plain = on_meta(resnet18).state_dict()
    assert len(plain) == 122
    assert "layer1.0.downsample.0.weight" not in plain
    assert tuple(plain["layer2.0.downsample.0.weight"].shape) == (128, 64, 1, 1)


def test_shapes_of_the_stages() -> None:
    """d2l 8.6: layer_summary((1, 1, 96, 96))."""
    rows = {row.name: row.output_shape for row in summarize(on_meta(resnet18, in_channels=1), (1, 96, 96)).layers}
    assert rows["maxpool"] == (1, 64, 24, 24)
    assert rows["layer1.1.bn2"] == (1, 64, 24, 24)
    assert rows["layer2.1.bn2"] == (1, 128, 12, 12)
    assert rows["layer3.1.bn2"] == (1, 256, 6, 6)
    assert rows["layer4.1.bn2"] == (1, 512, 3, 3)
    assert rows["avgpool"] == (1, 512, 1, 1)


@pytest.mark.parametrize("variant", ["torchvision", "d2l"])
@pytest.mark.parametrize(("block", "channels"), [(BasicBlock, 8), (Bottleneck, 2)])
def test_block_without_a_residual_is_the_identity_on_positive_inputs(
    block: type[BasicBlock] | type[Bottleneck], channels: int, variant: str
) -> None:
    layer = block(8, channels, variant=variant)  # type: ignore[arg-type]
    last = layer.bn2 if isinstance(layer, BasicBlock) else layer.bn3
    nn.init.zeros_(last.weight)
    x = torch.randn(4, 8, 6, 6)
    assert torch.equal(layer(x.abs()), x.abs())
    assert torch.equal(layer(x), x.relu())


@pytest.mark.parametrize("variant", ["torchvision", "d2l"])
def test_shapes_of_the_book_s_block(variant: str) -> None:
    x = torch.randn(4, 3, 6, 6)
    assert BasicBlock(3, 3, variant=variant)(x).shape == (4, 3, 6, 6)  # type: ignore[arg-type]
    assert BasicBlock(3, 6, 2, variant)(x).shape == (4, 6, 3, 3)  # type: ignore[arg-type]
    assert Bottleneck(3, 6, 2, variant)(x).shape == (4, 24, 3, 3)  # type: ignore[arg-type]


def test_initial_weights() -> None:
    """He's by fan_out: a 3 x 3 convolution to 512 channels has variance 2 / (9 * 512).  The book's: Xavier uniform."""
    torch.manual_seed(0)
    weight = resnet18().get_parameter("layer4.1.conv2.weight")
    assert weight.var().item() == pytest.approx(2 / (9 * 512), rel=0.01)
    assert weight.abs().max().item() > 4 * (2 / (9 * 512)) ** 0.5  # a normal, not a uniform distribution
    weight = resnet18(variant="d2l").get_parameter("layer4.1.conv2.weight")
    bound = (6 / (9 * 1024)) ** 0.5
    assert 0.99 * bound < weight.abs().max().item() <= bound


@pytest.mark.parametrize("size", [1, 2, 17, 33])
def test_any_image_size(size: int) -> None:
    with torch.device("meta"):
        assert resnet18(num_classes=7).eval()(torch.empty(2, 3, size, size)).shape == (2, 7)


def test_bad_sizes() -> None:
    with pytest.raises(ValueError, match="num_classes must be at least 1, but it is 0"):
        resnet18(num_classes=0)

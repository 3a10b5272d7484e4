"""GoogLeNet: published counts, the book's shapes, torchvision's names, auxiliary heads in training only."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import d2lcli
from d2lcli.models.googlenet import Inception, googlenet, googlenet_tv
from d2lcli.registry import MODELS
from d2lcli.training.summary import summarize

BUILDERS = [googlenet, googlenet_tv]


def on_meta(build: Callable[..., nn.Module], **options: object) -> nn.Module:
    with torch.device("meta"):
        return build(**options)


def count(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def test_parameters() -> None:
    """torchvision's published count, with and without the heads; the book's table, summed."""
    assert count(on_meta(googlenet)) == 6_998_552
    assert count(on_meta(googlenet, in_channels=1, num_classes=10)) == 5_977_530
    assert count(on_meta(googlenet_tv)) == 6_624_904
    assert count(on_meta(googlenet_tv, aux=True)) == 13_004_888


def test_multiply_adds() -> None:
    """torchvision publishes 1.498 billion; the heads take no part in an evaluation."""
    for aux in (False, True):
        summary = summarize(on_meta(googlenet_tv, aux=aux), (3, 224, 224))
        assert round(summary.multiply_adds / 1e9, 3) == 1.498


@pytest.mark.parametrize("variant", ["d2l", "torchvision"])
@pytest.mark.parametrize(
    ("in_channels", "c1", "c2", "c3", "c4", "channels"),
    [
        (192, 64, (96, 128), (16, 32), 32, 256),  # 3a
        (256, 128, (128, 192), (32, 96), 64, 480),  # 3b
        (832, 384, (192, 384), (48, 128), 128, 1024),  # 5b
    ],
)
def test_channels_of_a_block(
    in_channels: int, c1: int, c2: tuple[int, int], c3: tuple[int, int], c4: int, channels: int, variant: Any
) -> None:
    """Szegedy et al. (2015), table 1."""
    with torch.device("meta"):
        block = Inception(in_channels, c1, c2, c3, c4, variant)
        assert block(torch.empty(2, in_channels, 6, 5)).shape == (2, channels, 6, 5)


@pytest.mark.parametrize("build", BUILDERS)
def test_shapes_of_the_book(build: Callable[..., nn.Module]) -> None:
    """d2l 8.4: layer_summary((1, 1, 96, 96)).  torchvision's poolings leave the same at sides divisible by 32."""
    model, shapes = on_meta(build, in_channels=1, num_classes=10).eval(), []
    for part in ("maxpool1", "maxpool2", "maxpool3", "maxpool4", "inception5b", "avgpool"):
        model.get_submodule(part).register_forward_hook(lambda _, __, made: shapes.append(tuple(made.shape[1:])))
    assert model(torch.empty(1, 1, 96, 96, device="meta")).shape == (1, 10)
    assert shapes == [(64, 24, 24), (192, 12, 12), (480, 6, 6), (832, 3, 3), (1024, 3, 3), (1024, 1, 1)]


def test_names_and_shapes_are_torchvision_s() -> None:
    shapes = {name: tuple(value.shape) for name, value in on_meta(googlenet_tv, aux=True).state_dict().items()}
    assert len(shapes) == 57 * 6 + 2 + 2 * (6 + 4)  # 57 convolutions with batch norm, fc, two heads
    for name, shape in {
        "conv1.conv.weight": (64, 3, 7, 7),
        "conv1.bn.running_var": (64,),
        "conv3.conv.weight": (192, 64, 3, 3),
        "inception3a.branch1.conv.weight": (64, 192, 1, 1),
        "inception3a.branch2.1.conv.weight": (128, 96, 3, 3),
        "inception3a.branch3.1.conv.weight": (32, 16, 3, 3),
        "inception4e.branch4.1.bn.weight": (128,),
        "inception5b.branch2.0.conv.weight": (192, 832, 1, 1),
        "aux1.conv.conv.weight": (128, 512, 1, 1),
        "aux2.conv.conv.weight": (128, 528, 1, 1),
        "aux1.fc1.weight": (1024, 2048),
        "aux2.fc2.bias": (1000,),
        "fc.weight": (1000, 1024),
    }.items():
        assert shapes[name] == shape
    assert "inception3a.branch1.conv.bias" not in shapes


@pytest.mark.parametrize("build", BUILDERS)
def test_auxiliary_heads_speak_in_training_only(build: Callable[..., nn.Module]) -> None:
    model, images = on_meta(build, num_classes=7, aux=True), torch.empty(2, 3, 64, 64, device="meta")
    assert [tuple(logits.shape) for logits in model.train()(images)] == [(2, 7)] * 3
    assert model.eval()(images).shape == (2, 7)
    assert on_meta(build, num_classes=7).train()(images).shape == (2, 7)


@pytest.mark.parametrize("build", BUILDERS)
def test_auxiliary_losses_reach_every_parameter_of_the_heads(build: Callable[..., nn.Module]) -> None:
    torch.manual_seed(0)
    model = build(num_classes=3, aux=True)
    logits, first, second = model(torch.randn(4, 3, 32, 32))
    (logits.sum() + 0.3 * (first.sum() + second.sum())).backward()
    assert [name for name, parameter in model.named_parameters() if parameter.grad is None] == []


@pytest.mark.parametrize(("build", "smallest"), [(googlenet, 1), (googlenet_tv, 15)])
def test_smallest_image(build: Callable[..., nn.Module], smallest: int) -> None:
    model = on_meta(build, num_classes=7).eval()
    for size in (smallest, smallest + 1, 17, 33):
        assert model(torch.empty(2, 3, size, size, device="meta")).shape == (2, 7)


def test_initial_weights() -> None:
    """torchvision: N(0, 0.01^2).  The book: Xavier uniform."""
    torch.manual_seed(0)
    assert googlenet_tv().get_parameter("fc.weight").std().item() == pytest.approx(0.01, rel=0.01)
    weight = googlenet().get_parameter("inception5b.branch2.1.conv.weight")
    bound = (6 / (9 * (192 + 384))) ** 0.5
    assert 0.99 * bound < weight.abs().max().item() <= bound


def test_bad_sizes() -> None:
    with pytest.raises(ValueError, match="in_channels must be at least 1, but it is 0"):
        googlenet(in_channels=0)


@pytest.mark.parametrize("name", ["googlenet", "googlenet_tv"])
def test_the_heads_train_with_the_rest(name: str, tmp_path: Path) -> None:
    found = d2lcli.train([f"model={name}", "model.aux=true", "hardware=cpu"], run_dir=tmp_path / "run", smoke=True)
    assert found["status"] == "finished"
    assert found["parameters"] == count(on_meta(MODELS.get(name), in_channels=1, num_classes=10, aux=True))

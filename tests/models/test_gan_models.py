"""The two networks of the GANs: counts, shapes, how their weights begin."""

import math

import pytest
import torch
from torch import nn

import d2lcli
from d2lcli.models.dcgan import dcgan
from d2lcli.models.gan import gan


def count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def test_the_sizes_of_dcgan() -> None:
    with torch.device("meta"):
        paper, book = dcgan(), dcgan(bn_first=True)
    assert count(paper.generator) == count(book.generator) == 3_576_704
    assert (count(paper.discriminator), count(book.discriminator)) == (2_765_568, 2_765_696)
    made = [layer for layer in paper.generator if isinstance(layer, nn.ConvTranspose2d)]
    seen = [layer for layer in paper.discriminator if isinstance(layer, nn.Conv2d)]
    assert [layer.in_channels for layer in made] == [100, 512, 256, 128, 64] and made[-1].out_channels == 3
    assert [layer.out_channels for layer in seen] == [64, 128, 256, 512, 1]
    assert (made[0].stride, made[0].padding, seen[-1].stride, seen[-1].padding) == ((1, 1), (0, 0), (1, 1), (0, 0))
    assert {layer.stride + layer.padding for layer in (*made[1:], *seen[:-1])} == {(2, 2, 1, 1)}
    assert {layer.negative_slope for layer in paper.discriminator if isinstance(layer, nn.LeakyReLU)} == {0.2}


@pytest.mark.parametrize("size", [8, 32, 64, 256])
def test_the_shapes_of_dcgan(size: int) -> None:
    model = dcgan(image_size=size, in_channels=2, width=2, latent=5).eval()
    sides = []
    for layer in model.generator:
        if isinstance(layer, nn.ConvTranspose2d):
            layer.register_forward_hook(lambda _, before, after: sides.append((before[0].shape[-1], after.shape[-1])))
    noise = torch.randn(3, 5)
    images = model(noise)
    assert images.shape == (3, 2, size, size) and model.discriminator(images).shape == (3, 1)
    assert images.abs().max() <= 1 and model.shape.tolist() == [2, size, size] and model.latent_shape == (5,)
    assert sides[0] == (1, 4 + 1 * (1 - 1) - 0)  # k + s (n - 1) - 2 p
    assert all(after == 4 + 2 * (before - 1) - 2 for before, after in sides[1:])


def test_it_is_shown_with_both_networks() -> None:
    shown = d2lcli.show(["model=dcgan"])
    assert shown["parameters"] == 3_576_704 + 2_765_568 and shown["input_shape"] == [1, 100]
    shapes = {layer["name"]: layer["output_shape"] for layer in shown["layers"]}
    assert [1, 3, 64, 64] in shapes.values() and list(shapes.values())[-1] == [1, 1]
    assert {name.partition(".")[0] for name in shapes} == {"generator", "discriminator"}


@pytest.mark.parametrize("size", [0, 4, 28, 65, 96, 2048])
def test_other_sides_are_refused(size: int) -> None:
    with pytest.raises(ValueError, match="image_size must be one of 8, 16, 32"):
        dcgan(image_size=size)


def test_how_the_weights_of_dcgan_begin() -> None:
    torch.manual_seed(0)
    paper, book = dcgan(), dcgan(init="d2l")
    for model, mean in ((paper, 1.0), (book, 0.0)):
        kernels = torch.cat([layer.weight.flatten() for layer in model.modules() if hasattr(layer, "kernel_size")])
        norms = [layer for layer in model.modules() if isinstance(layer, nn.BatchNorm2d)]
        scales, shifts = (torch.cat([getattr(layer, key) for layer in norms]) for key in ("weight", "bias"))
        assert (kernels.mean().item(), kernels.std().item()) == pytest.approx((0, 0.02), abs=2e-4)
        assert (scales.mean().item(), scales.std().item()) == pytest.approx((mean, 0.02), abs=2e-3)
        assert shifts.std().item() == pytest.approx(0.0 if model is paper else 0.02, abs=2e-3)


def test_the_toy_gan() -> None:
    torch.manual_seed(0)
    model = gan(in_features=3, latent=2, hidden=(500, 300))
    assert [type(layer) for layer in model.discriminator] == [nn.Linear, nn.Tanh, nn.Linear, nn.Tanh, nn.Linear]
    assert model(torch.randn(4, 2)).shape == (4, 3) and model.discriminator(torch.randn(4, 3)).shape == (4, 1)
    every = torch.cat([parameter.flatten() for parameter in model.parameters()])
    assert every.std().item() == pytest.approx(0.02, rel=0.02)
    assert count(gan()) == 2 * 2 + 2 + (2 * 5 + 5) + (5 * 3 + 3) + (3 + 1)
    for wrong in ({"latent": 0}, {"hidden": [0]}, {"std": 0.0}, {"std": math.inf}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            gan(**wrong)  # type: ignore[arg-type]

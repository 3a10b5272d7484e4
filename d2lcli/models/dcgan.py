"""DCGAN: images from a deep convolutional generator (Radford, Metz and Chintala, 2016; d2l 20.2).

n examples, c channels of an image, s its side, k numbers of noise, w the width.
"""

from itertools import pairwise
from typing import Literal

from torch import nn

from d2lcli.nn.adversaries import Adversaries
from d2lcli.nn.checks import require_positive

Init = Literal["paper", "d2l"]
SMALLEST, LARGEST = 8, 1024


def dcgan(
    *,
    in_channels: int = 3,
    image_size: int = 64,
    latent: int = 100,
    width: int = 64,
    bn_first: bool = False,
    init: Init = "paper",
) -> Adversaries:
    """A generator of transposed convolutions, and a discriminator that is its mirror image.

    At 64 pixels the generator has 100-512-256-128-64-3 channels, 3,576,704 parameters, and the discriminator
    3-64-128-256-512-1, 2,765,568.  Other sizes have a layer more for each doubling, or fewer.  A transposed convolution
    makes k + stride (n - 1) - 2 padding pixels of n: the first one 4 of 1 (kernel 4, stride 1), the others 2 n.

    Args:
        in_channels: c.
        image_size: s, 8, 16, 32, ...
        latent: k.
        width: w, channels beside the image; they double with each halving of the side.
        bn_first: batch norm in the discriminator's first layer, too, as in the book's code; the paper has none there.
        init: paper: convolutions from N(0, .02^2), scales of batch norm from N(1, .02^2); d2l: every parameter from
            N(0, .02^2), as in the book's code.

    Raises:
        ValueError: a size is below 1, or the side is no such number.
    """
    require_positive(in_channels=in_channels, latent=latent, width=width)
    halvings = (image_size // 4).bit_length() - 1
    if not SMALLEST <= image_size <= LARGEST or image_size != 4 << halvings:
        raise ValueError(f"image_size must be one of 8, 16, 32, ... {LARGEST}, but it is {image_size}.")
    widths = [width << i for i in range(halvings)]  # from the image's side inwards: 64, 128, 256, 512
    model = Adversaries(
        _generator(in_channels, latent, widths),
        _discriminator(in_channels, widths, bn_first),
        (latent,),
        (in_channels, image_size, image_size),
    )
    model.apply(_draw_paper if init == "paper" else _draw_d2l)
    return model


def _generator(channels: int, latent: int, widths: list[int]) -> nn.Module:
    layers: list[nn.Module] = [
        nn.Unflatten(1, (latent, 1, 1)),  # (n, k) -> (n, k, 1, 1)
        nn.ConvTranspose2d(latent, widths[-1], 4, bias=False),  # -> (n, 8 w, 4, 4)
    ]
    for inputs, outputs in pairwise(reversed([channels, *widths])):
        layers += [
            nn.BatchNorm2d(inputs),
            nn.ReLU(inplace=True),
            nn.ConvTranspose2d(inputs, outputs, 4, stride=2, padding=1, bias=False),  # the side doubles
        ]
    return nn.Sequential(*layers, nn.Tanh())  # (n, c, s, s), in [-1, 1]


def _discriminator(channels: int, widths: list[int], bn_first: bool) -> nn.Module:
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise([channels, *widths]):
        layers.append(nn.Conv2d(inputs, outputs, 4, stride=2, padding=1, bias=False))  # the side halves
        if bn_first or len(layers) > 1:
            layers.append(nn.BatchNorm2d(outputs))
        layers.append(nn.LeakyReLU(0.2, inplace=True))
    return nn.Sequential(*layers, nn.Conv2d(widths[-1], 1, 4, bias=False), nn.Flatten())  # (n, 8 w, 4, 4) -> (n, 1)


def _draw_paper(layer: nn.Module) -> None:
    if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.normal_(layer.weight, std=0.02)
    elif isinstance(layer, nn.BatchNorm2d):
        nn.init.normal_(layer.weight, mean=1.0, std=0.02)


def _draw_d2l(layer: nn.Module) -> None:
    for parameter in layer.parameters(recurse=False):
        nn.init.normal_(parameter, std=0.02)

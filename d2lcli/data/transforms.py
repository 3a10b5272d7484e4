"""Image transforms by the batch: the part without chance, and what a config may ask for.

Legend: n images, c channels, h height, w width, s side after resizing.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import torch
from torch import Tensor
from torch.nn import functional

from d2lcli.data.augment import ColorJitter, CropFlip, Cutout, RandomResizedCrop, compose
from d2lcli.data.dataset import AugmentFunction

MAX_SIDE = 4096
Normalize: TypeAlias = bool | Literal["symmetric"]


@dataclass(frozen=True)
class Prepare:
    """y = (x / 255 - mean) / std for each channel, after a resize to s x s where `size` asks for another one.

    The resize is bilinear with antialiasing, so that shrinking averages over all pixels.

    Args:
        size: s; None keeps the images as they are.
        mean: one value for each channel, in units of the brightest pixel.
        std: one value for each channel, in the same units.
    """

    size: int | None
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __call__(self, images: Tensor) -> Tensor:
        """uint8 (n, c, h, w) -> float32 (n, c, s, s)."""
        pixels = images.to(torch.float32)
        if self.size is not None and pixels.shape[-2:] != (self.size, self.size):
            side = (self.size, self.size)
            pixels = functional.interpolate(pixels, side, mode="bilinear", antialias=True, align_corners=False)
        scale = torch.tensor([1 / (255 * std) for std in self.std], device=pixels.device)
        shift = torch.tensor([-mean / std for mean, std in zip(self.mean, self.std)], device=pixels.device)
        return pixels.mul_(scale[:, None, None]).add_(shift[:, None, None])


@dataclass(frozen=True, kw_only=True)
class ImageOptions:
    """What the config of an image data set may ask of its transforms; all but the first and the last in training only.

    Args:
        image_size: the side after resizing; None keeps the stored size.
        flip: mirror half of the images.
        vertical_flip: turn half of the images upside down.
        crop_padding: crop at random after padding by so many pixels.
        random_resized_crop: smallest and largest share of the area of a random box that is scaled to the image's size.
        color_jitter: strength of random brightness, contrast, saturation and hue.
        cutout: the side of a square that is blanked.
        mixup: alpha of mixtures of two images; 0 for none.
        cutmix: alpha of images with a box from another one; 0 for none.
        normalize: subtract the mean of the training images and divide by their standard deviation, by channel;
            symmetric scales pixels to [-1, 1], and False to [0, 1], and no more.
    """

    image_size: int | None = None
    flip: bool = False
    vertical_flip: bool = False
    crop_padding: int = 0
    random_resized_crop: Sequence[float] | None = None
    color_jitter: Sequence[float] | None = None
    cutout: int | None = None
    mixup: float = 0.0
    cutmix: float = 0.0
    normalize: Normalize = True

    def check(self, shape: Sequence[int]) -> None:
        """Refuse what does not fit images of this shape (c, h, w), already resized.

        Raises:
            ValueError: an option out of range.
        """
        side = min(shape[1:])
        if not 0 <= self.crop_padding < side:
            raise ValueError(
                f"crop_padding is {self.crop_padding}; it must be at least 0 and less than the image's side {side}"
            )
        if self.cutout is not None and not 1 <= self.cutout <= side:
            raise ValueError(f"cutout is {self.cutout}; it must be from 1 to the image's side {side}, or null")
        low, high = self.random_resized_crop or (1.0, 1.0)
        if not 0 < low <= high <= 1:
            raise ValueError(f"random_resized_crop is [{low}, {high}]; want [low, high] with 0 < low <= high <= 1")
        if self.color_jitter is not None:
            _check_jitter(self.color_jitter, shape[0])


def _check_jitter(strength: Sequence[float], channels: int) -> None:
    given = f"color_jitter is {list(strength)}"
    if not all(0 <= value < math.inf for value in strength) or strength[3] > 0.5:
        raise ValueError(f"{given}; the four numbers must be at least 0, and the last one, of the hue, at most 0.5")
    if channels != 3 and any(strength[2:]):
        raise ValueError(
            f"{given}; images of {channels} channel{'s' * (channels > 1)} have no saturation and no hue: "
            "give 0 for the last two"
        )


def image_transforms(
    shape: Sequence[int], options: ImageOptions, *, mean: Sequence[float], std: Sequence[float], background: float
) -> tuple[Prepare, AugmentFunction | None, tuple[int, ...]]:
    """The transforms of an image data set, and the shape (c, s, s) of what they give.

    Args:
        shape: (c, h, w) of the stored images.
        options: which transforms.  Random ones come in the order: resized crop, crop and flips, colour jitter, cutout.
            Each takes and gives prepared images, so that normalisation, though done first, is as good as done last.
        mean: of the training images, one value for each channel, pixels in [0, 1]; it is what cutout blanks with.
        std: likewise.
        background: the pixel value in [0, 1] that padding shows.

    Raises:
        ValueError: an option out of range.
    """
    size = options.image_size
    if size is not None and not 1 <= size <= MAX_SIDE:
        raise ValueError(f"image_size is {size}; it must be between 1 and {MAX_SIDE}, or null for the stored size")
    prepared = tuple(shape) if size is None else (shape[0], size, size)
    options.check(prepared)
    if options.normalize is True:
        center, spread = tuple(mean), tuple(max(value, 1e-6) for value in std)
    else:
        half = (0.5,) * len(mean)
        center, spread = (half, half) if options.normalize else ((0.0,) * len(mean), (1.0,) * len(mean))
    parts: list[AugmentFunction] = []
    if options.random_resized_crop is not None:
        low, high = options.random_resized_crop
        parts.append(RandomResizedCrop((low, high)))
    if options.flip or options.crop_padding or options.vertical_flip:
        fill = tuple((background - m) / s for m, s in zip(center, spread))
        parts.append(CropFlip(options.flip, options.crop_padding, fill, options.vertical_flip))
    if options.color_jitter is not None:
        brightness, contrast, saturation, hue = options.color_jitter
        parts.append(ColorJitter((brightness, contrast, saturation, hue), center, spread))
    if options.cutout is not None:
        parts.append(Cutout(options.cutout, tuple((m - c) / s for m, c, s in zip(mean, center, spread))))
    return Prepare(size, center, spread), compose(parts), prepared


def channel_statistics(images: Tensor) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel over uint8 (n, c, h, w), pixels in [0, 1].

    The sums run over histograms of whole numbers, so the result is the same on every machine.
    """
    means, stds = [], []
    levels = torch.arange(256, dtype=torch.float64) / 255
    for channel in images.unbind(1):
        share = torch.bincount(channel.reshape(-1), minlength=256).double() / channel.numel()
        mean = float((share * levels).sum())
        means.append(mean)
        stds.append(float((share * (levels - mean) ** 2).sum()) ** 0.5)
    return tuple(means), tuple(stds)

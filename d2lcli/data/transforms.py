"""Image transforms by the batch.  The random ones are functions of uniform numbers: chance belongs to the loader.

Legend: n images, c channels, h height, w width, p padding, s side after resizing.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

MAX_SIDE = 4096


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


@dataclass(frozen=True)
class Augment:
    """A random crop after padding by p on each side, and a horizontal flip with probability 1/2.

    Source: He et al. (2016), section 4.2.  Uses three uniform numbers for each image: row offset, column offset, flip.

    Args:
        flip: mirror half of the images.
        crop_padding: p; 0 crops nothing.
        fill: the value of a padded pixel for each channel, in the units of the prepared images.
    """

    flip: bool
    crop_padding: int
    fill: tuple[float, ...]
    num_uniforms: int = 3

    def __call__(self, images: Tensor, uniforms: Tensor) -> Tensor:
        """float32 (n, c, h, w) and (n, 3) -> float32 (n, c, h, w)."""
        n, c, h, w = images.shape
        p = self.crop_padding
        offsets = (uniforms[:, :2] * (2 * p + 1)).long().clamp_(max=2 * p)  # (n, 2), each in 0 .. 2p
        columns = torch.arange(w, device=images.device).expand(n, w)
        if self.flip:
            columns = torch.where(uniforms[:, 2:3] < 0.5, w - 1 - columns, columns)
        columns = columns + offsets[:, 1:2]  # (n, w)
        rows = torch.arange(h, device=images.device) + offsets[:, 0:1]  # (n, h)
        positions = (rows[:, :, None] * (w + 2 * p) + columns[:, None, :]).view(n, 1, h * w)
        return self._pad(images).view(n, c, -1).gather(2, positions.expand(n, c, h * w)).view(n, c, h, w)

    def _pad(self, images: Tensor) -> Tensor:
        n, c, h, w = images.shape
        p = self.crop_padding
        fill = torch.tensor(self.fill, dtype=images.dtype, device=images.device)
        padded = fill[:, None, None].repeat(n, 1, h + 2 * p, w + 2 * p).view(n, c, h + 2 * p, w + 2 * p)
        padded[:, :, p : p + h, p : p + w] = images
        return padded


def image_transforms(
    shape: Sequence[int],
    *,
    image_size: int | None,
    flip: bool,
    crop_padding: int,
    normalize: bool,
    mean: Sequence[float],
    std: Sequence[float],
    background: float,
) -> tuple[Prepare, Augment | None, tuple[int, ...]]:
    """The transforms of an image data set, and the shape (c, s, s) of what they give.

    Args:
        shape: (c, h, w) of the stored images.
        image_size: s, or None for the stored size.
        flip: see `Augment`.
        crop_padding: see `Augment`.
        normalize: subtract `mean` and divide by `std`; otherwise pixels are scaled to [0, 1] and no more.
        mean: of the training images, one value for each channel, pixels in [0, 1].
        std: likewise.
        background: the pixel value in [0, 1] that padding shows.

    Raises:
        ValueError: an option out of range.
    """
    if image_size is not None and not 1 <= image_size <= MAX_SIDE:
        raise ValueError(
            f"image_size is {image_size}; it must be between 1 and {MAX_SIDE}, or null for the stored size"
        )
    channels, height, width = shape if image_size is None else (shape[0], image_size, image_size)
    if not 0 <= crop_padding < min(height, width):
        raise ValueError(
            f"crop_padding is {crop_padding}; it must be at least 0 and less than the image's side {height}"
        )
    center = tuple(mean) if normalize else (0.0,) * channels
    spread = tuple(max(value, 1e-6) for value in std) if normalize else (1.0,) * channels
    fill = tuple((background - m) / s for m, s in zip(center, spread))
    augment = Augment(flip, crop_padding, fill) if flip or crop_padding else None
    return Prepare(image_size, center, spread), augment, (channels, height, width)


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

"""Random changes of training images by the batch, as functions of uniform numbers: chance belongs to the loader.

What an image becomes depends on its own row of numbers alone, to the bit, whatever else is in the batch and wherever in
it the image stands: boxes and factors are computed in float64, sums over pixels are sums of whole numbers, and the rest
is one plain operation at a time.  (Where torch fuses a product and a sum, it does so for most of a tensor but not for
its tail.)

Legend: n images, c channels, h height, w width, k uniform numbers of an image.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from d2lcli.data.dataset import AugmentFunction

RATIOS = (3 / 4, 4 / 3)  # width to height of a random crop, as in Inception
GREY = (0.2989, 0.587, 0.114)  # weights of red, green and blue, as in torchvision
BLOCK_PIXELS = 1 << 16  # what a processor changes at a time, so that a dozen tensors of it stay in the cache
LEVELS = 2.0**16  # pixels are rounded to so many levels before they are summed


@dataclass(frozen=True)
class Compose:
    """Several changes, one after the other; each has its own columns of the uniform numbers.

    Args:
        parts: in the order of their use.
    """

    parts: tuple[AugmentFunction, ...]

    @property
    def num_uniforms(self) -> int:
        """k, over all parts."""
        return sum(part.num_uniforms for part in self.parts)

    def __call__(self, images: Tensor, uniforms: Tensor) -> Tensor:
        """float32 (n, c, h, w) and (n, k) -> float32 (n, c, h, w)."""
        shares = torch.split(uniforms, [part.num_uniforms for part in self.parts], dim=1)
        for part, own in zip(self.parts, shares):
            images = part(images, own)
        return images


@dataclass(frozen=True)
class CropFlip:
    """A random crop after padding by p on each side, and flips, each with probability 1/2.

    Source: He et al. (2016), section 4.2.  Uses a uniform number each for row offset, column offset and flip, and one
    more for a vertical flip.

    Args:
        flip: mirror half of the images.
        crop_padding: p; 0 crops nothing.
        fill: the value of a padded pixel for each channel, in the units of the prepared images.
        vertical_flip: turn half of the images upside down.
    """

    flip: bool
    crop_padding: int
    fill: tuple[float, ...]
    vertical_flip: bool = False

    @property
    def num_uniforms(self) -> int:
        """k."""
        return 4 if self.vertical_flip else 3

    def __call__(self, images: Tensor, uniforms: Tensor) -> Tensor:
        """float32 (n, c, h, w) and (n, k) -> float32 (n, c, h, w)."""
        n, c, h, w = images.shape
        p = self.crop_padding
        offsets = (uniforms[:, :2] * (2 * p + 1)).long().clamp_(max=2 * p)  # (n, 2), each in 0 .. 2p
        columns = torch.arange(w, device=images.device).expand(n, w)
        if self.flip:
            columns = torch.where(uniforms[:, 2:3] < 0.5, w - 1 - columns, columns)
        columns = columns + offsets[:, 1:2]  # (n, w)
        rows = torch.arange(h, device=images.device)
        if self.vertical_flip:
            rows = torch.where(uniforms[:, 3:4] < 0.5, h - 1 - rows, rows)
        rows = rows + offsets[:, 0:1]  # (n, h)
        positions = (rows[:, :, None] * (w + 2 * p) + columns[:, None, :]).view(n, 1, h * w)
        return self._pad(images).view(n, c, -1).gather(2, positions.expand(n, c, h * w)).view(n, c, h, w)

    def _pad(self, images: Tensor) -> Tensor:
        n, c, h, w = images.shape
        p = self.crop_padding
        fill = torch.tensor(self.fill, dtype=images.dtype, device=images.device)
        padded = fill[:, None, None].repeat(n, 1, h + 2 * p, w + 2 * p).view(n, c, h + 2 * p, w + 2 * p)
        padded[:, :, p : p + h, p : p + w] = images
        return padded


@dataclass(frozen=True)
class RandomResizedCrop:
    """A random box of the image, scaled to the size of the whole by bilinear interpolation.

    The area of the box is uniform in `scale` times that of the image, its ratio of width to height log-uniform in
    3/4 .. 4/3, its place uniform.  Where only some of these ratios fit into the image, the ratio is log-uniform among
    them; torchvision draws area and ratio again instead, which makes small boxes likelier.

    Source: Szegedy et al. (2015), section 6.  Uses four uniform numbers: area, ratio, top, left.

    Args:
        scale: smallest and largest share of the image's area, 0 < low <= high <= 1.
    """

    scale: tuple[float, float]
    num_uniforms: int = 4

    def __call__(self, images: Tensor, uniforms: Tensor) -> Tensor:
        """float32 (n, c, h, w) and (n, 4) -> float32 (n, c, h, w)."""
        n, _, h, w = images.shape
        top, left, height, width = self.boxes(uniforms, h, w).unbind(1)
        rows, columns = _grid(top, height, h), _grid(left, width, w)  # (n, h), (n, w)
        grid = torch.stack([columns[:, None, :].expand(n, h, w), rows[:, :, None].expand(n, h, w)], dim=3)
        return functional.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)

    def boxes(self, uniforms: Tensor, h: int, w: int) -> Tensor:
        """Top, left, height and width of each box in pixels: (n, 4) -> (n, 4), whole numbers in float64."""
        area, ratio, top, left = uniforms.double().unbind(1)
        area = (self.scale[0] + area * (self.scale[1] - self.scale[0])) * (h * w)
        narrowest, widest = area / h**2, w**2 / area  # the ratios of the boxes that touch opposite sides
        low, high = (torch.minimum(torch.maximum(torch.full_like(area, r), narrowest), widest) for r in RATIOS)
        ratio = low * (high / low) ** ratio
        height = (area / ratio).sqrt().round().clamp(1, h)
        width = (area * ratio).sqrt().round().clamp(1, w)
        return torch.stack([(top * (h - height + 1)).floor(), (left * (w - width + 1)).floor(), height, width], dim=1)


def _grid(start: Tensor, length: Tensor, size: int) -> Tensor:
    """Where the `size` pixels of a scaled box lie in the image, in the units of `grid_sample`: (n,) -> (n, size).

    Positions end at the centres of the box's own first and last pixels, as if the box were an image by itself.
    """
    steps = torch.arange(size, dtype=torch.float64, device=start.device) + 0.5
    inside = (steps * (length / size)[:, None] - 0.5).clamp_(min=0.0)
    positions = torch.minimum(inside, (length - 1)[:, None]) + start[:, None]
    return ((2 * positions + 1) / size - 1).float()


@dataclass(frozen=True)
class ColorJitter:
    """Random brightness, contrast, saturation and hue, in this order always.

    With pixels x in [0, 1], clipped to it after each step, g the grey value 0.2989 R + 0.587 G + 0.114 B (x itself for
    one channel), and f uniform in [max(0, 1 - strength), 1 + strength]:
        brightness: f x
        contrast:   f x + (1 - f) (mean of g over the image)
        saturation: f x + (1 - f) g
        hue:        the hue of HSV, turned by a share of the circle that is uniform in [-strength, strength]
    These are torchvision's definitions; the order there is random.  Uses four uniform numbers, in the same order.

    Args:
        strength: of brightness, contrast, saturation and hue, the last one at most 1/2; 0 leaves a step out.  Images
            with one channel have the first two only.
        mean: the prepared images are (x - mean) / std by channel, and so are the results.
        std: see `mean`.
    """

    strength: tuple[float, float, float, float]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    num_uniforms: int = 4

    def __call__(self, images: Tensor, uniforms: Tensor) -> Tensor:
        """float32 (n, c, h, w) and (n, 4) -> float32 (n, c, h, w)."""
        if images.is_cuda:
            return self._jitter(images, uniforms)
        block = max(1, BLOCK_PIXELS // (images.shape[2] * images.shape[3]))
        pieces = zip(torch.split(images, block), torch.split(uniforms, block))
        return torch.cat([self._jitter(piece, own) for piece, own in pieces])

    def _jitter(self, images: Tensor, uniforms: Tensor) -> Tensor:
        mean, std = (torch.tensor(values, device=images.device)[:, None, None] for values in (self.mean, self.std))
        x = (images * std).add_(mean)
        brightness, contrast, saturation, hue = self.strength
        if brightness:
            x.mul_(_factor(uniforms[:, 0], brightness)).clamp_(0, 1)
        if contrast:
            x = _blend(x, _mean(_grey(x)), _factor(uniforms[:, 1], contrast))
        if saturation:
            x = _blend(x, _grey(x), _factor(uniforms[:, 2], saturation))
        if hue:
            x = _turn_hue(x, (uniforms[:, 3].double() * 2 - 1) * hue)
        return x.sub_(mean).div_(std)


def _factor(uniforms: Tensor, strength: float) -> Tensor:
    """(n,) -> (n, 1, 1, 1), uniform in [max(0, 1 - strength), 1 + strength]."""
    low = max(0.0, 1.0 - strength)
    return (low + uniforms.double() * (1.0 + strength - low)).float()[:, None, None, None]


def _blend(x: Tensor, other: Tensor, factor: Tensor) -> Tensor:
    """factor x + (1 - factor) other, clipped, in the memory of x."""
    return x.mul_(factor).add_(other * (1 - factor)).clamp_(0, 1)


def _grey(x: Tensor) -> Tensor:
    """(n, c, h, w) -> (n, 1, h, w)."""
    if x.shape[1] == 1:
        return x
    red, green, blue = (x[:, i : i + 1] * weight for i, weight in enumerate(GREY))
    return red.add_(green).add_(blue)


def _mean(grey: Tensor) -> Tensor:
    """The mean over each image, (n, 1, h, w) -> (n, 1, 1, 1), to 1/2 of a level."""
    total = (grey * LEVELS).round_().sum((2, 3), keepdim=True, dtype=torch.float64)
    return (total / (LEVELS * grey.shape[2] * grey.shape[3])).float()


def _turn_hue(x: Tensor, turns: Tensor) -> Tensor:
    """RGB (n, 3, h, w) with the hue turned by `turns` (n,) of the circle; value and saturation stay.

    The hue in sixths of the circle is H = (G - B) / C, 2 + (B - R) / C or 4 + (R - G) / C, where the largest channel is
    red, green or blue, and C is what it exceeds the smallest channel m by.  Back, with H in [0, 6): red, green and blue
    are m + C min(1, max(0, t)) for t = |H - 3| - 1, 2 - |H - 2| and 2 - |H - 4|.
    """
    red, green, blue = x.unbind(1)
    largest, least = x.amax(1), x.amin(1)
    chroma = largest - least
    divisor = torch.where(chroma == 0, 1.0, chroma)  # grey pixels: any hue will do
    sixths = torch.where(
        largest == red,
        (green - blue).div_(divisor),
        torch.where(largest == green, (blue - red).div_(divisor).add_(2), (red - green).div_(divisor).add_(4)),
    )
    sixths = sixths.add_((turns * 6).float()[:, None, None])
    sixths = sixths.sub_((sixths / 6).floor_().mul_(6))
    shares = (sixths - 3).abs_().sub_(1), 2 - (sixths - 2).abs_(), 2 - (sixths - 4).abs_()
    return torch.stack([share.clamp_(0, 1).mul_(chroma).add_(least) for share in shares], dim=1)


@dataclass(frozen=True)
class Cutout:
    """One square of side s in each image is blanked; its centre is any pixel, so it may stick out of the image.

    Source: DeVries and Taylor (2017).  Uses two uniform numbers: the centre's row and column.

    Args:
        side: s.
        fill: the value of a blanked pixel for each channel, in the units of the prepared images.
    """

    side: int
    fill: tuple[float, ...]
    num_uniforms: int = 2

    def __call__(self, images: Tensor, uniforms: Tensor) -> Tensor:
        """float32 (n, c, h, w) and (n, 2) -> float32 (n, c, h, w)."""
        rows, columns = (self._covered(uniforms[:, i], images.shape[2 + i]) for i in (0, 1))
        fill = torch.tensor(self.fill, dtype=images.dtype, device=images.device)[:, None, None]
        return torch.where(rows[:, None, :, None] & columns[:, None, None, :], fill, images)

    def _covered(self, uniforms: Tensor, size: int) -> Tensor:
        """Which of `size` rows or columns the square covers: (n,) -> bool (n, size)."""
        first = ((uniforms.double() * size).floor() - self.side // 2)[:, None]
        positions = torch.arange(size, device=uniforms.device)
        return (positions >= first) & (positions < first + self.side)


def compose(parts: Sequence[AugmentFunction]) -> AugmentFunction | None:
    """All parts as one; None where there are none."""
    return parts[0] if len(parts) == 1 else Compose(tuple(parts)) if parts else None

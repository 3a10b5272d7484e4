"""The random changes of images against plain twins: one image at a time, with Pillow, colorsys and loops."""

import colorsys
import math
from collections.abc import Callable

import numpy
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image, ImageEnhance
from torch import Tensor

from d2lcli.data.augment import ColorJitter, Compose, CropFlip, Cutout, RandomResizedCrop
from d2lcli.data.dataset import AugmentFunction
from d2lcli.data.mixing import Drawn, Mixing

Pixels = NDArray[numpy.float32]


def images(n: int, c: int, h: int, w: int) -> Tensor:
    """Whole levels between 0 and 1, so that Pillow can hold them as bytes."""
    generator = torch.Generator().manual_seed(7)
    return torch.randint(0, 256, (n, c, h, w), generator=generator) / 255


def uniforms(n: int, k: int) -> Tensor:
    """Random rows after the two extremes."""
    table = torch.rand(n, k, generator=torch.Generator().manual_seed(3))
    table[0], table[1] = 0.0, 1 - 2**-24
    return table


def resized_crop(image: Pixels, numbers: list[float], scale: tuple[float, float]) -> Pixels:
    """Cut the box out with Pillow and scale it with Pillow."""
    _, h, w = image.shape
    area = (scale[0] + numbers[0] * (scale[1] - scale[0])) * h * w
    fits = area / h**2, w**2 / area
    low, high = (min(max(ratio, fits[0]), fits[1]) for ratio in (3 / 4, 4 / 3))
    ratio = math.exp(math.log(low) + numbers[1] * (math.log(high) - math.log(low)))
    width, height = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
    top, left = int(numbers[2] * (h - height + 1)), int(numbers[3] * (w - width + 1))
    channels = [
        Image.fromarray(channel).crop((left, top, left + width, top + height)).resize((w, h), Image.Resampling.BILINEAR)
        for channel in image
    ]
    return numpy.stack([numpy.asarray(channel) for channel in channels])


@pytest.mark.parametrize("scale", [(0.08, 1.0), (0.3, 0.3), (1.0, 1.0)])
@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 16, 40), (3, 9, 7)])
def test_random_resized_crop(shape: tuple[int, int, int], scale: tuple[float, float]) -> None:
    x, table = images(40, *shape), uniforms(40, 4)
    got = RandomResizedCrop(scale)(x, table)
    for i in range(40):
        assert numpy.abs(got[i].numpy() - resized_crop(x[i].numpy(), table[i].tolist(), scale)).max() < 1e-4


@pytest.mark.parametrize("shape", [(64, 64), (60, 100)])
def test_boxes_are_drawn_as_said(shape: tuple[int, int]) -> None:
    """Area uniform, log ratio uniform where all ratios fit, place uniform; within four standard errors."""
    n, (h, w) = 20_000, shape
    table = torch.rand(n, 4, generator=torch.Generator().manual_seed(0))
    top, left, height, width = RandomResizedCrop((0.08, 0.3)).boxes(table, h, w).unbind(1)
    assert (top >= 0).all() and (left >= 0).all() and (top + height <= h).all() and (left + width <= w).all()
    shares = height * width / (h * w)
    assert abs(float(shares.mean()) - 0.19) < 4 * 0.22 / math.sqrt(12 * n) + 0.002  # the last for whole pixels
    assert shares.min() > 0.07 and shares.max() < 0.32
    logs = (width / height).log()
    assert abs(float(logs.mean())) < 4 * float(logs.std()) / math.sqrt(n) + 0.002
    assert abs(float(logs.std()) - 2 * math.log(4 / 3) / math.sqrt(12)) < 0.01
    places = (top + 0.5) / (h - height + 1)
    assert abs(float(places.mean()) - 0.5) < 4 / math.sqrt(12 * n)


def enhanced(image: Pixels, kind: Callable[[Image.Image], ImageEnhance._Enhance], factor: float) -> Pixels:
    levels = numpy.round(image * 255).astype(numpy.uint8)
    picture = Image.fromarray(levels[0] if len(levels) == 1 else levels.transpose(1, 2, 0))
    changed = (numpy.asarray(kind(picture).enhance(factor)) / 255).astype(numpy.float32)
    return changed[None] if len(levels) == 1 else changed.transpose(2, 0, 1)


@pytest.mark.parametrize("strength", [0.4, 1.5])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("step", [0, 1, 2])
def test_brightness_contrast_and_saturation(step: int, channels: int, strength: float) -> None:
    """Pillow's own enhancers: they round to bytes, and so does their mean grey."""
    if channels == 1 and step == 2:
        return
    kind = (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color)[step]
    strengths = [0.0, 0.0, 0.0, 0.0]
    strengths[step] = strength
    x, table = images(20, channels, 12, 9), uniforms(20, 4)
    jitter = ColorJitter((strengths[0], strengths[1], strengths[2], 0.0), (0.0,) * channels, (1.0,) * channels)
    got = jitter(x, table)
    low = max(0.0, 1 - strength)
    for i in range(20):
        expected = enhanced(x[i].numpy(), kind, low + float(table[i, step]) * (1 + strength - low))
        assert numpy.abs(got[i].numpy() - expected).max() <= 2.6 / 255


def test_hue() -> None:
    """The standard library's HSV."""
    x, table = images(12, 3, 6, 5), uniforms(12, 4)
    x[2] = x[2, :1]  # grey pixels have no hue
    got = ColorJitter((0.0, 0.0, 0.0, 0.5), (0.0,) * 3, (1.0,) * 3)(x, table)
    for i in range(12):
        turn = float(table[i, 3]) - 0.5
        for row in range(6):
            for column in range(5):
                hue, saturation, value = colorsys.rgb_to_hsv(*x[i, :, row, column].tolist())
                expected = colorsys.hsv_to_rgb((hue + turn) % 1, saturation, value)
                assert got[i, :, row, column].tolist() == pytest.approx(expected, abs=2e-6)


def test_steps_of_the_jitter_follow_each_other_in_prepared_units() -> None:
    x, table = images(8, 3, 10, 10), uniforms(8, 4)
    strength = (0.4, 0.3, 0.2, 0.1)
    expected = x
    for step in range(4):
        alone = [value if i == step else 0.0 for i, value in enumerate(strength)]
        expected = ColorJitter((alone[0], alone[1], alone[2], alone[3]), (0.0,) * 3, (1.0,) * 3)(expected, table)
    mean, std = (0.4, 0.5, 0.6), (0.2, 0.3, 0.4)
    center, spread = (torch.tensor(values)[:, None, None] for values in (mean, std))
    got = ColorJitter(strength, mean, std)((x - center) / spread, table)
    torch.testing.assert_close(got * spread + center, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("side", [1, 4, 5])
def test_cutout(side: int) -> None:
    x, table = images(30, 2, 6, 8), uniforms(30, 2)
    got = Cutout(side, (-1.0, -2.0))(x, table).numpy()
    for i in range(30):
        expected = x[i].numpy().copy()
        top, left = int(table[i, 0] * 6) - side // 2, int(table[i, 1] * 8) - side // 2
        for row in range(max(top, 0), min(top + side, 6)):
            for column in range(max(left, 0), min(left + side, 8)):
                expected[:, row, column] = -1.0, -2.0
        assert numpy.array_equal(got[i], expected)


def test_vertical_flip() -> None:
    x, table = images(20, 2, 5, 6), uniforms(20, 4)
    got = CropFlip(True, 0, (0.0, 0.0), vertical_flip=True)(x, table).numpy()
    for i in range(20):
        across, down = (-1 if float(table[i, column]) < 0.5 else 1 for column in (2, 3))
        assert numpy.array_equal(got[i], x[i].numpy()[:, ::down, ::across])


ALL = Compose(
    (
        RandomResizedCrop((0.08, 1.0)),
        CropFlip(True, 2, (-1.0,) * 3, vertical_flip=True),
        ColorJitter((0.4, 0.4, 0.4, 0.1), (0.5,) * 3, (0.25,) * 3),
        Cutout(7, (0.0,) * 3),
    )
)


def test_parts_follow_each_other_each_with_its_own_columns() -> None:
    x, table = images(6, 3, 16, 16), uniforms(6, ALL.num_uniforms)
    expected, column = x, 0
    for part in ALL.parts:
        expected = part(expected, table[:, column : column + part.num_uniforms])
        column += part.num_uniforms
    assert column == ALL.num_uniforms == 14
    assert torch.equal(ALL(x, table), expected)


@pytest.mark.parametrize("part", [ALL, *ALL.parts], ids=lambda part: type(part).__name__)
@pytest.mark.parametrize("side", [13, 32])
def test_an_image_does_not_depend_on_its_batch(part: AugmentFunction, side: int) -> None:
    """To the bit: a resume begins its first chunk of batches in the middle of another one."""
    x, table = (images(150, 3, side, side) - 0.5) / 0.25, uniforms(150, part.num_uniforms)
    before = x.clone()
    whole = part(x, table)
    assert torch.equal(x, before)
    for layout in (torch.contiguous_format, torch.channels_last):
        for low, high in ((0, 1), (1, 4), (4, 131), (131, 150)):
            piece = part(x[low:high].contiguous(memory_format=layout), table[low:high])
            assert torch.equal(piece, whole[low:high])


def one_by_one(x: Tensor, labels: list[int], drawn: Drawn, num_classes: int) -> tuple[Pixels, Pixels]:
    """Mixtures of neighbours, pixel by pixel."""
    n, c, h, w = x.shape
    inside = numpy.zeros((h, w), dtype=bool)
    if drawn.cut:
        tall, wide = (int(size * math.sqrt(1 - drawn.share)) for size in (h, w))
        top, left = int(drawn.row * h) - tall // 2, int(drawn.column * w) - wide // 2
        for row in range(h):
            for column in range(w):
                inside[row, column] = top <= row < top + tall and left <= column < left + wide
    share = 1 - inside.mean() if drawn.cut else drawn.share
    mixed, targets = numpy.zeros((n - 1, c, h, w), dtype=numpy.float32), numpy.zeros((n - 1, num_classes))
    for i in range(1, n):
        one, other = x[i].numpy(), x[i - 1].numpy()
        mixed[i - 1] = numpy.where(inside, other, one) if drawn.cut else share * one + (1 - share) * other
        targets[i - 1, labels[i]] += share
        targets[i - 1, labels[i - 1]] += 1 - share
    return mixed, targets.astype(numpy.float32)


@pytest.mark.parametrize("cut", [False, True])
@pytest.mark.parametrize("share", [0.0, 0.15, 0.5, 0.77, 1.0])
@pytest.mark.parametrize("place", [(0.0, 0.999), (0.5, 0.4)])
def test_mixtures(cut: bool, share: float, place: tuple[float, float]) -> None:
    x, labels = images(6, 3, 9, 14), [0, 3, 3, 1, 2, 4]
    drawn = Drawn(cut, share, *place)
    got, targets = Mixing(0.2, 1.0, 5)(x, torch.tensor(labels), drawn)
    expected, probabilities = one_by_one(x, labels, drawn, 5)
    assert numpy.abs(got.numpy() - expected).max() < 1e-6
    assert numpy.abs(targets.numpy() - probabilities).max() < 1e-6
    assert got.dtype == targets.dtype == torch.float32


def test_chance_of_mixtures() -> None:
    """Beta(a, a) has mean 1/2 and variance 1 / (4 (2 a + 1)); each kind half of the time; within four errors."""
    n = 20_000
    drawn = Mixing(0.2, 1.0, 5).draw(n, seed=1)
    assert drawn == Mixing(0.2, 1.0, 5).draw(n, seed=1) != Mixing(0.2, 1.0, 5).draw(n, seed=2)
    assert abs(sum(one.cut for one in drawn) / n - 0.5) < 4 * 0.5 / math.sqrt(n)
    for cut, alpha in ((False, 0.2), (True, 1.0)):
        shares = numpy.array([one.share for one in drawn if one.cut == cut])
        variance = 1 / (4 * (2 * alpha + 1))
        assert abs(shares.mean() - 0.5) < 4 * math.sqrt(variance / len(shares))
        assert abs(shares.var() - variance) < 0.01
    assert all(0 <= one.row < 1 and 0 <= one.column < 1 and 0 <= one.share <= 1 for one in drawn)
    assert not any(one.cut for one in Mixing(0.2, 0.0, 5).draw(50, seed=0))
    assert all(one.cut for one in Mixing(0.0, 1.0, 5).draw(50, seed=0))

"""Image transforms against loops, Pillow and numpy."""

import numpy
import pytest
import torch
from PIL import Image
from torch import Tensor

from d2lcli.data.transforms import Augment, Prepare, channel_statistics, image_transforms


def pixels(n: int, c: int, h: int, w: int) -> Tensor:
    return torch.randint(0, 256, (n, c, h, w), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


def test_prepare_is_the_formula() -> None:
    images = pixels(2, 3, 5, 4)
    mean, std = (0.1, 0.2, 0.3), (0.5, 0.6, 0.7)
    expected = (images.numpy() / 255.0 - numpy.reshape(mean, (3, 1, 1))) / numpy.reshape(std, (3, 1, 1))
    assert numpy.allclose(Prepare(None, mean, std)(images).numpy(), expected, atol=1e-6)


@pytest.mark.parametrize("size", [7, 32])
def test_resize_agrees_with_pillow(size: int) -> None:
    image = pixels(1, 1, 16, 16)
    expected = Image.fromarray(image[0, 0].numpy()).resize((size, size), Image.Resampling.BILINEAR)
    got = Prepare(size, (0.0,), (1.0,))(image) * 255
    assert got.shape == (1, 1, size, size)
    assert numpy.abs(got[0, 0].numpy() - numpy.asarray(expected)).max() <= 1.0  # Pillow rounds twice


def test_augment_agrees_with_a_loop() -> None:
    images = pixels(9, 2, 6, 5).float()
    uniforms = torch.rand(9, 3, generator=torch.Generator().manual_seed(2))
    uniforms[0] = torch.tensor([0.0, 0.0, 0.0])
    uniforms[1] = torch.tensor([1 - 2**-24, 1 - 2**-24, 1 - 2**-24])
    got = Augment(True, 2, (-1.0, -2.0))(images, uniforms)
    for i in range(9):
        padded = numpy.empty((2, 10, 9), dtype=numpy.float32)
        padded[0], padded[1] = -1.0, -2.0
        padded[:, 2:8, 2:7] = images[i].numpy()
        top, left = int(uniforms[i, 0] * 5), int(uniforms[i, 1] * 5)
        expected = padded[:, top : top + 6, left : left + 5]
        if uniforms[i, 2] < 0.5:
            expected = expected[:, :, ::-1]
        assert numpy.array_equal(got[i].numpy(), expected)


def test_half_of_the_images_are_flipped_and_all_offsets_occur() -> None:
    n = 4000
    image = torch.arange(9.0).view(1, 1, 3, 3).repeat(n, 1, 1, 1)
    uniforms = torch.rand(n, 3, generator=torch.Generator().manual_seed(0))
    flipped = Augment(True, 0, (0.0,))(image, uniforms)[:, 0, 0, 0] == 2
    assert abs(float(flipped.float().mean()) - 0.5) < 4 * (0.25 / n) ** 0.5
    centers = Augment(False, 1, (-1.0,))(image, uniforms)[:, 0, 1, 1]
    counts = centers.long().bincount(minlength=9)
    assert counts.min() > 0 and abs(float(counts.float().mean()) - n / 9) < 1e-3


def test_statistics_agree_with_numpy() -> None:
    images = pixels(5, 3, 8, 9)
    mean, std = channel_statistics(images)
    values = images.numpy().astype(numpy.float64) / 255
    assert numpy.allclose(mean, values.mean(axis=(0, 2, 3)), atol=1e-12)
    assert numpy.allclose(std, values.std(axis=(0, 2, 3)), atol=1e-12)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"image_size": 0}, "image_size is 0"),
        ({"crop_padding": 8}, "crop_padding is 8"),
        ({"crop_padding": -1}, "crop_padding is -1"),
    ],
)
def test_options_out_of_range(options: dict[str, int], problem: str) -> None:
    settings = {"image_size": None, "crop_padding": 0, "flip": False, "normalize": True} | options
    with pytest.raises(ValueError, match=problem):
        image_transforms((1, 8, 8), mean=(0.0,), std=(1.0,), background=0.0, **settings)  # type: ignore[arg-type]


def test_without_normalisation_pixels_lie_between_0_and_1() -> None:
    prepare, augment, shape = image_transforms(
        (1, 8, 8), image_size=4, flip=False, crop_padding=0, normalize=False, mean=(0.5,), std=(0.5,), background=0.0
    )
    got = prepare(pixels(3, 1, 8, 8))
    assert augment is None and shape == (1, 4, 4)
    assert got.min() >= 0 and got.max() <= 1


def test_padding_shows_the_background_in_prepared_units() -> None:
    prepare, augment, _ = image_transforms(
        (1, 4, 4), image_size=None, flip=False, crop_padding=1, normalize=True, mean=(0.3,), std=(0.2,), background=1.0
    )
    assert augment is not None
    white = prepare(torch.full((1, 1, 4, 4), 255, dtype=torch.uint8))
    got = augment(white, torch.zeros(1, 3))
    assert torch.allclose(got, white[:, :, :1, :1].expand_as(got), atol=1e-6)

"""Image transforms against loops, Pillow and numpy."""

from typing import Any

import numpy
import pytest
import torch
from PIL import Image
from torch import Tensor

from d2lcli.data.augment import Compose, CropFlip
from d2lcli.data.mixing import mixing
from d2lcli.data.transforms import ImageOptions, Prepare, channel_statistics, image_transforms
from d2lcli.registry import DATASETS


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


def test_crops_and_flips_agree_with_a_loop() -> None:
    images = pixels(9, 2, 6, 5).float()
    uniforms = torch.rand(9, 3, generator=torch.Generator().manual_seed(2))
    uniforms[0] = torch.tensor([0.0, 0.0, 0.0])
    uniforms[1] = torch.tensor([1 - 2**-24, 1 - 2**-24, 1 - 2**-24])
    got = CropFlip(True, 2, (-1.0, -2.0))(images, uniforms)
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
    flipped = CropFlip(True, 0, (0.0,))(image, uniforms)[:, 0, 0, 0] == 2
    assert abs(float(flipped.float().mean()) - 0.5) < 4 * (0.25 / n) ** 0.5
    centers = CropFlip(False, 1, (-1.0,))(image, uniforms)[:, 0, 1, 1]
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
        ({"crop_padding": 8}, "crop_padding is 8; .* less than the image's side 8"),
        ({"crop_padding": -1}, "crop_padding is -1"),
        ({"cutout": 9}, "cutout is 9; it must be from 1 to the image's side 8"),
        ({"cutout": 0}, "cutout is 0"),
        ({"random_resized_crop": (0.0, 1.0)}, r"random_resized_crop is \[0.0, 1.0\]; want"),
        ({"random_resized_crop": (0.5, 1.1)}, "random_resized_crop"),
        ({"random_resized_crop": (0.5, 0.4)}, "random_resized_crop"),
        ({"color_jitter": (-0.1, 0.0, 0.0, 0.0)}, "color_jitter is .* at least 0"),
        ({"color_jitter": (0.1, 0.1, 0.0, 0.6)}, r"of the hue, at most 0\.5"),
        ({"color_jitter": (0.1, 0.1, 0.1, 0.0)}, "images of 1 channel have no saturation and no hue"),
    ],
)
def test_options_out_of_range(options: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        image_transforms((1, 8, 8), ImageOptions(**options), mean=(0.0,), std=(1.0,), background=0.0)


@pytest.mark.parametrize("name", ["mixup", "cutmix"])
def test_a_negative_alpha_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} is -0.1"):
        mixing(**({"mixup": 0.0, "cutmix": 0.0} | {name: -0.1}), num_classes=3)


def test_without_normalisation_pixels_lie_between_0_and_1() -> None:
    options = ImageOptions(image_size=4, normalize=False)
    prepare, augment, shape = image_transforms((1, 8, 8), options, mean=(0.5,), std=(0.5,), background=0.0)
    got = prepare(pixels(3, 1, 8, 8))
    assert augment is None and shape == (1, 4, 4)
    assert got.min() >= 0 and got.max() <= 1


def test_padding_shows_the_background_in_prepared_units() -> None:
    options = ImageOptions(crop_padding=1)
    prepare, augment, _ = image_transforms((1, 4, 4), options, mean=(0.3,), std=(0.2,), background=1.0)
    assert augment is not None
    white = prepare(torch.full((1, 1, 4, 4), 255, dtype=torch.uint8))
    got = augment(white, torch.zeros(1, 3))
    assert torch.allclose(got, white[:, :, :1, :1].expand_as(got), atol=1e-6)


@pytest.mark.parametrize("normalize", [False, True])
def test_cutout_shows_the_mean_in_prepared_units(normalize: bool) -> None:
    options = ImageOptions(cutout=4, normalize=normalize)
    _, augment, _ = image_transforms((1, 4, 4), options, mean=(0.3,), std=(0.2,), background=1.0)
    assert augment is not None
    got = augment(torch.full((1, 1, 4, 4), 9.0), torch.full((1, 2), 0.5))
    assert torch.allclose(got, torch.full_like(got, 0.0 if normalize else 0.3), atol=1e-6)


OPTIONS: dict[str, Any] = {
    "image_size": 20,
    "flip": True,
    "vertical_flip": True,
    "crop_padding": 3,
    "random_resized_crop": [0.5, 1.0],
    "color_jitter": [0.2, 0.2, 0.0, 0.0],
    "cutout": 5,
    "mixup": 0.2,
    "cutmix": 1.0,
    "normalize": False,
}


def test_a_builder_hands_every_option_on() -> None:
    """Of the builders that are called with options by name, one after another; the others share their code."""
    plain = DATASETS.build("fashion_mnist_mini")
    seen = [(plain.train.prepare, plain.train.augment, plain.train.mix)]
    for name, value in OPTIONS.items():
        data = DATASETS.build("fashion_mnist_mini", **{name: value})
        seen.append((data.train.prepare, data.train.augment, data.train.mix))
        assert data.val.augment is None and data.val.mix is None
    assert len(set(seen)) == len(seen)
    whole = DATASETS.build("fashion_mnist_mini", **OPTIONS)
    assert isinstance(whole.train.augment, Compose) and whole.train.augment.num_uniforms == 4 + 4 + 4 + 2

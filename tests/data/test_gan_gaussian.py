"""The toy data of GANs, and pixels about zero."""

import pytest
import torch

from d2lcli.data.gan_gaussian import gan_gaussian
from d2lcli.data.transforms import ImageOptions, image_transforms


def test_mean_and_covariance_are_those_of_the_source() -> None:
    data = gan_gaussian(num_train=200_000)
    a, b = torch.tensor([[1.0, 2.0], [-0.1, 0.5]]), torch.tensor([1.0, 2.0])
    torch.testing.assert_close(data.train.inputs.mean(0), b, rtol=0, atol=0.02)  # type: ignore[union-attr]
    torch.testing.assert_close(data.train.inputs.T.cov(), a.T @ a, rtol=0, atol=0.05)  # type: ignore[union-attr]
    assert data.shape == (2,) and data.train.targets.shape == (200_000, 0) and len(data.val) == 1000


def test_other_sizes_and_misuse() -> None:
    data = gan_gaussian(matrix=[[2]], mean=[5], num_train=5000)
    assert data.shape == (1,) and data.train.inputs.std().item() == pytest.approx(2, abs=0.1)  # type: ignore[union-attr]
    for options, said in (
        ({"matrix": [[1, 2]]}, "must be square"),
        ({"mean": [1.0]}, "must be square"),
        ({"matrix": [[1, float("nan")], [0, 1]]}, "finite"),
        ({"num_val": 0}, "num_val: 0 given"),
    ):
        with pytest.raises(ValueError, match=said):
            gan_gaussian(**options)  # type: ignore[arg-type]


def test_symmetric_pixels_lie_between_minus_1_and_1() -> None:
    pixels = torch.tensor([0, 51, 255], dtype=torch.uint8).expand(1, 2, 2, 3)
    for normalize, expected in (("symmetric", [-1.0, -0.6, 1.0]), (False, [0.0, 0.2, 1.0]), (True, [-1.5, -0.5, 3.5])):
        options = ImageOptions(normalize=normalize)  # type: ignore[arg-type]
        prepare, _, _ = image_transforms((2, 2, 3), options, mean=(0.3,) * 2, std=(0.2,) * 2, background=0.0)
        torch.testing.assert_close(prepare(pixels)[0, 1, 1], torch.tensor(expected))

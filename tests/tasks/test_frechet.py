"""The Frechet distance beside scipy's matrix root, and the features of images that it is taken of."""

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm
from torch import Tensor

from d2lcli.errors import ConfigError
from d2lcli.tasks.frechet import RandomFeatures, frechet, frechet_distance, generated_moments


def by_scipy(made: Tensor, real: Tensor) -> float:
    """The usual computation of an FID."""
    (m, c), (n, d) = ((x.numpy().mean(0), np.atleast_2d(np.cov(x.numpy(), rowvar=False))) for x in (made, real))
    return float(((m - n) ** 2).sum() + np.trace(c + d - 2 * sqrtm(c @ d).real))


def points(d: int, count: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, d, generator=generator, dtype=torch.float64) @ torch.randn(
        d, d, generator=generator, dtype=torch.float64
    ) + 3 * torch.rand(d, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("d", [1, 2, 17])
def test_it_is_scipy_s_in_any_batches(d: int) -> None:
    made, real = points(d, 100, 1), points(d, 100, 2)
    metric = frechet_distance()
    for rows in torch.split(torch.arange(100), 23):
        metric.update(made[rows], real[rows])
    assert metric.compute() == pytest.approx(by_scipy(made, real), rel=1e-9)


def test_closed_forms() -> None:
    eye, zero = torch.eye(3, dtype=torch.float64), torch.zeros(3, dtype=torch.float64)
    assert frechet(zero, eye, zero, eye) == pytest.approx(0, abs=1e-12)
    assert frechet(zero, eye, zero + 2, eye) == pytest.approx(12)
    assert frechet(zero, 4 * eye, zero, 9 * eye) == pytest.approx(3 * (3 - 2) ** 2)
    flat = torch.zeros(3, 3, dtype=torch.float64)
    flat[0, 0] = 1.0  # singular
    assert frechet(zero, flat, zero, eye) == pytest.approx(2)


def test_states_add_up_and_a_far_mean_costs_no_digits() -> None:
    made, real = points(4, 60, 1) + 1e4, points(4, 60, 2) + 1e4
    whole, left, right = (frechet_distance() for _ in range(3))
    whole.update(made, real)
    left.update(made[:20], real[:20])
    right.update(made[20:], real[20:])
    left.state += right.state
    assert left.compute() == pytest.approx(whole.compute(), rel=1e-6)
    assert whole.compute() == pytest.approx(by_scipy(made, real), rel=1e-5)


def test_moments_are_numpy_s() -> None:
    made = points(3, 50, 1)
    metric = generated_moments()
    metric.update(made[:20], made[:20])
    metric.update(made[20:], made[20:])
    mean, *covariance = metric.compute()  # type: ignore[misc]
    np.testing.assert_allclose(mean, made.numpy().mean(0), rtol=1e-12)
    np.testing.assert_allclose(covariance, np.cov(made.numpy(), rowvar=False), rtol=1e-10)


def pictures(seed: int) -> Tensor:
    """Discs of random places, sizes and colours on white, (200, 3, 32, 32)."""
    generator = torch.Generator().manual_seed(seed)
    place, radius = torch.rand(200, 2, 1, 1, generator=generator) * 32, 4 + 6 * torch.rand(200, generator=generator)
    colour = torch.rand(200, 3, 1, 1, generator=generator) * 2 - 1
    axis = torch.arange(32.0)
    inside = (axis[:, None] - place[:, 0]) ** 2 + (axis - place[:, 1]) ** 2 < radius[:, None, None] ** 2
    return torch.where(inside[:, None], colour, torch.ones(()))


def test_images_that_are_less_alike_are_farther_apart() -> None:
    def distance(made: Tensor) -> float:
        metric = frechet_distance()
        metric.update(made, pictures(0))
        return metric.compute()  # type: ignore[return-value]

    blurred = torch.nn.functional.avg_pool2d(pictures(1), 5, 1, 2)
    grey = pictures(1).mean(1, keepdim=True).expand(-1, 3, -1, -1)
    noise = torch.rand(200, 3, 32, 32, generator=torch.Generator().manual_seed(2)) * 2 - 1
    same = distance(pictures(1))
    assert distance(pictures(0)) < 1e-9 < 3 * same < min(distance(blurred), distance(grey)) < distance(noise)


def test_features_are_means_of_fixed_convolutions() -> None:
    images = pictures(3)[:2]
    network = RandomFeatures(3, seed=0)
    before = torch.get_rng_state()
    again, other = RandomFeatures(3, seed=0), RandomFeatures(3, seed=1)
    assert torch.equal(torch.get_rng_state(), before)
    assert network(images).shape == (2, 64)
    assert torch.equal(network(images), again(images)) and not torch.equal(network(images), other(images))
    first = torch.nn.functional.conv2d(images * 2, network.kernels[0], stride=2, padding=2)
    torch.testing.assert_close(
        network(images)[:, :16], first.clamp(min=0).mean((2, 3)) + 0.2 * first.clamp(max=0).mean((2, 3))
    )
    assert not any(parameter.requires_grad for parameter in network.parameters())


def test_misuse() -> None:
    for metric in (frechet_distance(), generated_moments()):
        with pytest.raises(ValueError, match="has seen no examples"):
            metric.compute()
    with pytest.raises(ConfigError, match="is for points"):
        generated_moments().update(torch.zeros(2, 3, 8, 8), torch.zeros(2, 3, 8, 8))
    with pytest.raises(ConfigError, match="it is for task=gan"):
        frechet_distance().update(torch.zeros(2, 3), torch.zeros(2))
    alone = frechet_distance()
    alone.update(torch.ones(1, 2), torch.zeros(1, 2))
    assert alone.compute() == pytest.approx(2)  # of one example the covariance is nothing
    assert frechet_distance().interval() is None

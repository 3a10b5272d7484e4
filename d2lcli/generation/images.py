"""What a GAN's generator makes: images or points from noise, and the way from one noise to another (d2l 20).

Legend: n examples, k numbers of noise, m steps of a way.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor, nn

from d2lcli.errors import CheckpointError, clean
from d2lcli.generation.opening import open_run
from d2lcli.tasks.gan import generate, latent_noise
from d2lcli.tasks.pictures import image_grid, to_pixels

Ways = Literal["spherical", "linear"]


@dataclass(frozen=True)
class Pair:
    """A generator that can be asked, with its discriminator.

    Attributes:
        checkpoint: the folder that the weights came from.
    """

    model: nn.Module
    checkpoint: Path


@dataclass(frozen=True)
class Made:
    """What was made.

    Args:
        examples: (n, ...), images (n, c, h, w) or points (n, d).
        columns: of a grid that shows them.
    """

    examples: Tensor
    columns: int


Make: TypeAlias = Callable[[Any, int], Made]
"""From a model and a number: of examples, or of ways."""


def images(*, columns: int = 8, seed: int = 0) -> Make:
    """One example for each noise.

    Args:
        columns: of the grid.
        seed: decides the noise; more examples begin with the fewer.

    Raises:
        ValueError: columns below 1, or a seed out of range.
    """
    if columns < 1:
        raise ValueError(f"columns={columns!r} must be at least 1")
    _check_seed(seed)

    def make(model: Any, count: int) -> Made:
        return Made(generate(model, latent_noise(seed, 0, count, model.latent_shape)), columns)

    return make


def interpolation(*, steps: int = 8, path: Ways = "spherical", seed: int = 0) -> Make:
    """The ways from one noise to another, `steps` examples for each, both ends included.

    Args:
        steps: m, at least 2.
        path: linear: (1 - t) a + t b; spherical: (sin((1 - t) w) a + sin(t w) b) / sin w, with w the angle between a
            and b (Shoemake, 1985).  Noise of many numbers has a length near the root of k, which a straight way leaves.
        seed: decides the ends.

    Raises:
        ValueError: fewer than two steps, or a seed out of range.
    """
    if steps < 2:
        raise ValueError(f"steps={steps!r} must be at least 2: both ends")
    _check_seed(seed)

    def make(model: Any, count: int) -> Made:
        first, last = latent_noise(seed, 0, 2 * count, model.latent_shape).view(count, 2, -1).unbind(1)  # (ways, k)
        between = way(first, last, torch.linspace(0, 1, steps), path)  # (ways, m, k)
        return Made(generate(model, between.reshape(count * steps, *model.latent_shape)), steps)

    return make


def way(first: Tensor, last: Tensor, times: Tensor, path: Ways) -> Tensor:
    """Points between `first` and `last` (n, k) at times (m,) from 0 to 1: (n, m, k); see `interpolation`."""
    a, b, t = first[:, None], last[:, None], times[:, None]
    if path == "linear":
        return (1 - t) * a + t * b
    cosine = torch.cosine_similarity(first.double(), last.double(), dim=1).clamp(-1, 1)
    angle = cosine.acos()[:, None, None].clamp(min=1e-6)  # parallel ends: the limit is the straight way
    found = (((1 - t) * angle).sin() * a + (t * angle).sin() * b) / angle.sin()
    return found.to(first.dtype)


def pictures(made: Made, low: float) -> tuple[Tensor, Tensor]:
    """Images as pixels: a grid of all (c, H, W), and each by itself (n, c, h, w), uint8.

    Args:
        made: images, in [low, 1].
        low: what is black.
    """
    pixels = to_pixels(made.examples, low)
    return image_grid(pixels, made.columns), pixels


def _check_seed(seed: int) -> None:
    if not 0 <= seed < 1 << 32:
        raise ValueError(f"seed={seed!r} must be from 0 to 2^32 - 1")


def open_pair(path: Path, values: dict[str, Any], checkpoint: str = "best") -> Pair:
    """A run's GAN from its folder alone: what its examples look like is in the checkpoint.

    Raises:
        CheckpointError: no run, no such checkpoint, or one that is damaged or of another model.
    """
    run = open_run(path, values, checkpoint)
    if "shape" not in run.weights:
        raise CheckpointError(f"{clean(run.checkpoint)}: does not say what its generator makes: it is of no GAN")
    return Pair(run.model(run.weights["shape"].tolist(), 0), run.checkpoint)

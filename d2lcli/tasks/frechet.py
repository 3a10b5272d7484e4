"""The Frechet distance between what a model makes and what is real, computed without anything that was downloaded.

Legend: n examples, c channels, h height, w width, d features.
"""

from math import sqrt

import torch
from torch import Tensor, nn

from d2lcli.errors import ConfigError
from d2lcli.tasks.metrics import Metric

WIDTHS = (16, 16, 32)
SPREAD = 0.5  # about the standard deviation of images in [-1, 1]


class RandomFeatures(nn.Module):
    """What fixed random convolutions see in images: the mean over all places of each channel of each layer, (n, 64).

    Three layers of 5 x 5 convolutions with stride 2 and leaky ReLU, drawn once from a seed as He et al. (2015) do, and
    never trained: the first sees edges and colours, the last regions of 29 x 29 pixels.

    Args:
        channels: c.
        seed: of the weights.
    """

    def __init__(self, channels: int, seed: int) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.kernels = nn.ParameterList()
        for width in WIDTHS:
            weight = torch.randn(width, channels, 5, 5, generator=generator) * sqrt(2 / (25 * channels))
            self.kernels.append(nn.Parameter(weight, requires_grad=False))
            channels = width

    def forward(self, images: Tensor) -> Tensor:
        """(n, c, h, w) -> (n, 64)."""
        x, means = images / SPREAD, []
        for kernel in self.kernels:
            x = nn.functional.leaky_relu(nn.functional.conv2d(x, kernel, stride=2, padding=2), 0.2)
            means.append(x.mean((2, 3)))
        return torch.cat(means, 1)


def frechet(mean: Tensor, covariance: Tensor, other_mean: Tensor, other_covariance: Tensor) -> float:
    """|m - m'|^2 + trace(C + C' - 2 (C C')^1/2), the squared Frechet distance of Gaussians (Dowson and Landau, 1982).

    The trace of the root is the sum of the roots of the eigenvalues of C^1/2 C' C^1/2, which is symmetric.

    Args:
        mean, other_mean: m and m', float64 (d,).
        covariance, other_covariance: C and C', float64 (d, d), positive semidefinite.
    """
    values, vectors = torch.linalg.eigh(covariance)
    root = (vectors * values.clamp(min=0).sqrt()) @ vectors.T
    crossed = torch.linalg.eigvalsh(root @ other_covariance @ root).clamp(min=0).sqrt().sum()
    apart = (mean - other_mean).square().sum() + covariance.trace() + other_covariance.trace() - 2 * crossed
    return max(0.0, float(apart))


def moments(sums: Tensor) -> tuple[Tensor, Tensor]:
    """Mean (d,) and covariance (d, d) from sums over examples: their number, x, x x^T; flat, (1 + d + d^2,).

    The covariance is the unbiased one, over n - 1; of a single example it is 0.

    Raises:
        ValueError: there were no examples.
    """
    count = float(sums[0])
    if not count:
        raise ValueError("the metric has seen no examples")
    d = (round(sqrt(4 * len(sums) - 3)) - 1) // 2
    mean = sums[1 : d + 1] / count
    outer = sums[d + 1 :].view(d, d) - count * torch.outer(mean, mean)
    return mean, outer / max(count - 1, 1)


class Moments(Metric):
    """Sums of features of made and of real examples, from which means and covariances follow.

    The state (2, 1 + d + d^2) holds those of made examples, then those of real ones; it is empty until a batch tells d.
    """

    def zeros(self, device: torch.device | str) -> Tensor:
        return torch.zeros(2, 0, dtype=torch.float64, device=device)

    def features(self, examples: Tensor) -> Tensor:
        """(n, ...) -> (n, d)."""
        return examples.flatten(1)

    def update(self, outputs: Tensor, targets: Tensor) -> None:
        """Add made examples (outputs) and real ones (targets).

        Raises:
            ConfigError: these are not of one kind.
        """
        if outputs.ndim < 2 or outputs.shape[1:] != targets.shape[1:]:
            raise ConfigError(f"metric '{self.name}' compares generated examples with real ones: it is for task=gan")
        sums = torch.stack([self._sums(outputs), self._sums(targets)])
        if not self.state.numel():
            with torch.inference_mode(False):  # the state outlives the evaluation
                self.state = torch.zeros_like(sums)
        self.state += sums

    def _sums(self, examples: Tensor) -> Tensor:
        x = self.features(examples.detach()).double()
        return torch.cat([x.new_tensor([len(x)]), x.sum(0), (x.T @ x).flatten()])

    def _made_and_real(self) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
        if not self.state.numel():
            raise ValueError(f"metric '{self.name}' has seen no examples")
        made, real = self.state.cpu()
        return moments(made), moments(real)


class FrechetDistance(Moments):
    """See `frechet_distance`."""

    def __init__(self, seed: int) -> None:
        super().__init__("frechet_distance", higher_is_better=False)
        self.seed = seed
        self._network: RandomFeatures | None = None

    def features(self, examples: Tensor) -> Tensor:
        if examples.ndim != 4:
            return examples.flatten(1)
        if self._network is None:
            with torch.inference_mode(False):
                self._network = RandomFeatures(examples.shape[1], self.seed)
        with torch.autocast(examples.device.type, enabled=False):
            found: Tensor = self._network.to(examples.device)(examples.float())
        return found

    def compute(self) -> float:
        made, real = self._made_and_real()
        return frechet(*made, *real)


class GeneratedMoments(Moments):
    """See `generated_moments`."""

    scalar = False

    def __init__(self) -> None:
        super().__init__("generated_moments", higher_is_better=False)

    def update(self, outputs: Tensor, targets: Tensor) -> None:
        if outputs.ndim != 2:
            raise ConfigError("metric 'generated_moments' is for points: images have too many numbers")
        super().update(outputs, targets)

    def compute(self) -> list[list[float]]:  # type: ignore[override]  # not counts, but numbers
        mean, covariance = self._made_and_real()[0]
        return [mean.tolist(), *covariance.tolist()]


def frechet_distance(seed: int = 0) -> Metric:
    """The squared Frechet distance between Gaussians fitted to made and to real examples; 0 where both agree.

    Of points it is that of the points themselves.  Of images it is that of 64 features of a convolutional network with
    fixed random weights, see `RandomFeatures`, not of Inception's: it compares models on one data set, split and size,
    and is no FID of the literature.  Like that it is too large for few examples, by about as much for all models.

    Args:
        seed: of the network's weights.
    """
    return FrechetDistance(seed)


def generated_moments() -> Metric:
    """The mean of the points that a model makes (first row), and their covariance (the other rows)."""
    return GeneratedMoments()

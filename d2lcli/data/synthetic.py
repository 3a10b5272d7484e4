"""Data made from a known model, so that what was learned can be compared with the truth."""

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from d2lcli.data.dataset import Dataset, Split
from d2lcli.data.loader import stream_generator

MAX_VALUES = 1 << 28


def synthetic_regression(
    *,
    w: Sequence[float] = (2.0, -3.4),
    b: float = 4.2,
    noise: float = 0.01,
    num_train: int = 1000,
    num_val: int = 1000,
    seed: int = 0,
) -> Dataset:
    """y = X w + b + e with X ~ N(0, 1) and e ~ N(0, noise^2).

    Args:
        w: the true weights, one for each feature.
        b: the true bias.
        noise: the standard deviation of e.
        num_train: training examples.
        num_val: validation examples.
        seed: decides X and e; the run's own seed does not.

    Raises:
        ValueError: no weights, no examples, or a negative noise.

    Source: Dive into Deep Learning, section 3.3.
    """
    return _linear("synthetic_regression", list(w), b, noise, num_train, num_val, seed)


def sparse_linear(
    *,
    num_inputs: int = 200,
    w: float = 0.01,
    b: float = 0.05,
    noise: float = 0.01,
    num_train: int = 20,
    num_val: int = 100,
    seed: int = 0,
) -> Dataset:
    """y = b + sum_i w x_i + e with many more inputs than training examples: it overfits without weight decay.

    Args:
        num_inputs: features.
        w: the true weight of each.
        b: the true bias.
        noise: the standard deviation of e.
        num_train: training examples.
        num_val: validation examples.
        seed: decides X and e; the run's own seed does not.

    Raises:
        ValueError: no inputs, no examples, or a negative noise.

    Source: Dive into Deep Learning, section 3.7.
    """
    return _linear("sparse_linear", [w] * num_inputs, b, noise, num_train, num_val, seed)


def polynomial(
    *,
    degree: int = 3,
    w: Sequence[float] = (5.0, 1.2, -3.4, 5.6),
    noise: float = 0.1,
    num_train: int = 100,
    num_val: int = 100,
    seed: int = 0,
) -> Dataset:
    """y = sum_i w_i x^i / i! + e, from the features x^i / i! with i = 1 .. degree; x ~ N(0, 1), e ~ N(0, noise^2).

    With the degree of the truth a linear model fits, with fewer features it underfits, with many more it overfits.  x
    and e do not depend on the degree, so fits of different degrees can be compared.

    Args:
        degree: features; the constant is left to the model's bias.
        w: the true coefficients, the constant first.
        noise: the standard deviation of e.
        num_train: training examples.
        num_val: validation examples.
        seed: decides x and e; the run's own seed does not.

    Raises:
        ValueError: no features, no coefficients, no examples, or a negative noise.

    Source: Dive into Deep Learning, the section on underfitting and overfitting.
    """
    terms = max(degree, len(w) - 1)
    _check({"degree": degree, "w": len(w), "num_train": num_train, "num_val": num_val}, noise, terms)
    generator = stream_generator(seed, 0, "polynomial")
    x = torch.randn(num_train + num_val, 1, generator=generator)
    features = torch.cumprod(x / torch.arange(1, terms + 1), dim=1)  # (n, terms), x^i / i! without a large factorial
    y = features[:, : len(w) - 1] @ torch.tensor(w[1:], dtype=torch.float32)[:, None] + w[0]
    y += noise * torch.randn(len(y), 1, generator=generator)
    return _dataset("polynomial", features[:, :degree].contiguous(), y, num_train, seed)


def sine_curve(
    *,
    amplitudes: Sequence[float] = (2.0,),
    frequencies: Sequence[float] = (1.0,),
    slope: float = 1.0,
    noise: float = 0.5,
    low: float = 0.0,
    high: float = 5.0,
    num_train: int = 50,
    num_val: int = 50,
    seed: int = 0,
) -> Dataset:
    """y = sum_i a_i sin(w_i x) + slope x + e with x ~ U(low, high) and e ~ N(0, noise^2), for models of curves.

    Validation shows the curve itself, at even distances and without noise, so that its error has no floor.

    Args:
        amplitudes: a_i.
        frequencies: w_i, as many, in radians per unit of x.
        slope: of the line that is added.
        noise: the standard deviation of e.
        low: where x begins.
        high: where x ends.
        num_train: training examples.
        num_val: validation examples.
        seed: decides x and e; the run's own seed does not.

    Raises:
        ValueError: amplitudes and frequencies differ in number, an empty interval, no examples, or a negative noise.

    Source: Dive into Deep Learning, the section on attention pooling by similarity.
    """
    if len(amplitudes) != len(frequencies):
        raise ValueError(f"{len(amplitudes)} amplitudes and {len(frequencies)} frequencies; give as many of each")
    if not -math.inf < low < high < math.inf:
        raise ValueError(f"low must lie below high, and both be finite: low={low!r}, high={high!r}")
    _check({"num_train": num_train, "num_val": num_val}, noise, 1)
    generator = stream_generator(seed, 0, "sine_curve")
    x = torch.cat([low + (high - low) * torch.rand(num_train, generator=generator), torch.linspace(low, high, num_val)])
    y = slope * x + sum(a * torch.sin(w * x) for a, w in zip(amplitudes, frequencies))
    y[:num_train] += noise * torch.randn(num_train, generator=generator)
    return _dataset("sine_curve", x[:, None].contiguous(), y[:, None].contiguous(), num_train, seed)


def noisy_sine(
    *,
    noise: float = 0.25,
    val_noise: float = 0.25,
    low: float = 0.0,
    high: float = 5.0,
    num_train: int = 50,
    num_val: int = 500,
    seed: int = 0,
) -> Dataset:
    """y = sin(x) + sin(4 x) / 2 + e at even distances from `low` to `high`, with e ~ N(0, noise^2).

    Validation has noise, too, so that the density of an observation can be judged.

    Args:
        noise: the standard deviation of e in training.
        val_noise: in validation; 0 shows the curve itself, as the book does.
        low: the first x.
        high: the last x.
        num_train: training examples.
        num_val: validation examples.
        seed: decides e; the run's own seed does not.

    Raises:
        ValueError: an empty interval, no examples, or a negative noise.

    Source: Dive into Deep Learning, section 18.3.
    """
    if not -math.inf < low < high < math.inf:
        raise ValueError(f"low must lie below high, and both be finite: low={low!r}, high={high!r}")
    _check({"num_train": num_train, "num_val": num_val}, min(noise, val_noise), 1)
    x = torch.cat([torch.linspace(low, high, count) for count in (num_train, num_val)])
    error = torch.randn(len(x), generator=stream_generator(seed, 0, "noisy_sine"))
    error[:num_train] *= noise
    error[num_train:] *= val_noise
    y = torch.sin(x) + torch.sin(4 * x) / 2 + error
    return _dataset("noisy_sine", x[:, None].contiguous(), y[:, None].contiguous(), num_train, seed)


def _linear(name: str, w: list[float], b: float, noise: float, num_train: int, num_val: int, seed: int) -> Dataset:
    _check({"features": len(w), "num_train": num_train, "num_val": num_val}, noise, len(w))
    n = num_train + num_val
    generator = stream_generator(seed, 0, name)
    x = torch.randn(n, len(w), generator=generator)
    y = x @ torch.tensor(w, dtype=torch.float32)[:, None] + b + noise * torch.randn(n, 1, generator=generator)  # (n, 1)
    return _dataset(name, x, y, num_train, seed)


def _check(counts: Mapping[str, int], noise: float, features: int) -> None:
    for what, count in counts.items():
        if count < 1:
            raise ValueError(f"{what}: {count} given, at least 1 is needed")
    if noise < 0:
        raise ValueError(f"noise is {noise}; a standard deviation is not negative")
    n = counts["num_train"] + counts["num_val"]
    if n * features > MAX_VALUES:
        raise ValueError(f"{n} examples of {features} features are more than {MAX_VALUES} numbers; ask for fewer")


def _dataset(name: str, x: Tensor, y: Tensor, num_train: int, seed: int) -> Dataset:
    """The first rows of features (n, d) and targets (n, 1) for training, the others for validation."""
    words = f"made from seed {seed}"
    train = Split(x[:num_train], y[:num_train], source=words)
    val = Split(x[num_train:], y[num_train:], name="val", source=words)
    return Dataset(name, train, val, (x.shape[1],), 1, found=words)

"""Data made from a known linear model, so that what was learned can be compared with the truth."""

from collections.abc import Sequence

import torch

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


def _linear(name: str, w: list[float], b: float, noise: float, num_train: int, num_val: int, seed: int) -> Dataset:
    counts = {"features": len(w), "num_train": num_train, "num_val": num_val}
    for what, count in counts.items():
        if count < 1:
            raise ValueError(f"{what}: {count} given, at least 1 is needed")
    if noise < 0:
        raise ValueError(f"noise is {noise}; a standard deviation is not negative")
    n = num_train + num_val
    if n * len(w) > MAX_VALUES:
        raise ValueError(f"{n} examples of {len(w)} features are more than {MAX_VALUES} numbers; ask for fewer")
    generator = stream_generator(seed, 0, name)
    x = torch.randn(n, len(w), generator=generator)
    y = x @ torch.tensor(w)[:, None] + b + noise * torch.randn(n, 1, generator=generator)  # (n, 1)
    words = f"made from seed {seed}"
    train = Split(x[:num_train], y[:num_train], source=words)
    val = Split(x[num_train:], y[num_train:], name="val", source=words)
    return Dataset(name, train, val, (len(w),), 1, found=words)

"""Points of a Gaussian in the plane, the data of the toy GAN (d2l 20.1)."""

import math
from collections.abc import Sequence

import torch

from d2lcli.data.dataset import Dataset, Split
from d2lcli.data.loader import stream_generator


def gan_gaussian(
    *,
    matrix: Sequence[Sequence[float]] = ((1.0, 2.0), (-0.1, 0.5)),
    mean: Sequence[float] = (1.0, 2.0),
    num_train: int = 1000,
    num_val: int = 1000,
    seed: int = 0,
) -> Dataset:
    """X = Z A + b with Z ~ N(0, I): a Gaussian with mean b and covariance A^T A.  There are no targets.

    Args:
        matrix: A, square.
        mean: b, as many numbers as A has columns.
        num_train: training examples.
        num_val: validation examples.
        seed: decides Z; the run's own seed does not.

    Raises:
        ValueError: the matrix is not square, the mean is of another length, a number is not finite, or no examples.

    Source: Dive into Deep Learning, section 20.1.
    """
    size = len(mean)
    if size < 1 or len(matrix) != size or any(len(row) != size for row in matrix):
        found = f"the matrix has {len(matrix)} rows, and the mean {size} numbers"
        raise ValueError(f"matrix must be square, and mean as long as its side; {found}")
    if not all(map(math.isfinite, [*mean, *(number for row in matrix for number in row)])):
        raise ValueError("matrix and mean must be of finite numbers")
    for what, count in {"num_train": num_train, "num_val": num_val}.items():
        if count < 1:
            raise ValueError(f"{what}: {count} given, at least 1 is needed")
    z = torch.randn(num_train + num_val, size, generator=stream_generator(seed, 0, "gan_gaussian"))
    x = z @ torch.tensor([[*map(float, row)] for row in matrix]) + torch.tensor([*map(float, mean)])  # (n, d)
    nothing = torch.zeros(len(x), 0)
    words = f"made from seed {seed}"
    train = Split(x[:num_train], nothing[:num_train], source=words)
    val = Split(x[num_train:], nothing[num_train:], name="val", source=words)
    return Dataset("gan_gaussian", train, val, (size,), 0, found=words)

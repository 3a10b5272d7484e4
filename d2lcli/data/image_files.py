"""Image files in a folder as a data set: in memory where they fit, else read as needed."""

import hashlib
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from d2lcli.data.dataset import Dataset, ImageReader
from d2lcli.data.image_dataset import image_dataset
from d2lcli.data.images import decode_image
from d2lcli.data.transforms import ImageOptions, channel_statistics
from d2lcli.errors import DataError, clean

SUFFIXES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"})
STATISTICS_IMAGES = 512


@dataclass(frozen=True)
class Files:
    """The images of one split and the class of each."""

    paths: list[Path]
    labels: list[int]

    def __getitem__(self, rows: Sequence[int]) -> "Files":
        return Files([self.paths[i] for i in rows], [self.labels[i] for i in rows])


class LazyImages(ImageReader):
    """Images that are decoded when they are asked for.

    Args:
        paths: one file for each image.
        shape: (3, h, w) that every image must have.
        size: see `decode_image`.
    """

    def __init__(self, paths: list[Path], shape: tuple[int, ...], size: int | None) -> None:
        self.paths, self.shape, self.size = paths, shape, size

    def __len__(self) -> int:
        return len(self.paths)

    def load(self, indices: Sequence[int]) -> Tensor:
        """uint8 (len(indices), 3, h, w).

        Raises:
            DataError: an image is unreadable or has another size than the first.
        """
        return torch.stack([self._one(self.paths[i]) for i in indices])

    def load_all(self) -> Tensor:
        """All images, decoded by as many threads as there are processors."""
        images = torch.empty(len(self), *self.shape, dtype=torch.uint8)
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            for i, image in enumerate(pool.map(self._one, self.paths)):
                images[i] = image
        return images

    def head(self, n: int) -> "LazyImages":
        """The first `n` images."""
        return LazyImages(self.paths[:n], self.shape, self.size)

    def _one(self, path: Path) -> Tensor:
        image = read_image(path, self.size)
        if image.shape != self.shape:
            found, first = (f"{shape[2]} x {shape[1]}" for shape in (image.shape, self.shape))
            hint = "give all images one size with data.image_size=64"
            raise DataError(f"{clean(path)}: {found} pixels, but the first image has {first}", hint)
        return image


def file_dataset(
    name: str,
    folder: Path,
    train: Files,
    val: Files,
    options: ImageOptions,
    *,
    classes: tuple[str, ...],
    files: Mapping[str, str],
    found: str,
) -> Dataset:
    """A data set of image files below `folder`; for the other arguments see `image_dataset`.

    Args:
        files: what else was read, path -> SHA-256; the names and sizes of the images are added.

    Raises:
        ValueError: an option out of range.
        DataError: a split without images, an unreadable image, or several sizes.
    """
    for split, words in ((train, "train"), (val, "val")):
        if not split.paths:
            raise DataError(f"{clean(folder)}: the {words} split is empty")
    first = read_image(train.paths[0], options.image_size)
    readers = [LazyImages(split.paths, tuple(first.shape), options.image_size) for split in (train, val)]
    needed = first.numel() * sum(map(len, readers))
    inputs = [reader.load_all() if needed <= memory_budget() else reader for reader in readers]
    step = -(-len(readers[0]) // STATISTICS_IMAGES)
    sample = inputs[0] if isinstance(inputs[0], Tensor) else inputs[0].load(range(0, len(readers[0]), step))
    mean, std = channel_statistics(sample)
    return image_dataset(
        name,
        (inputs[0], torch.tensor(train.labels)),
        (inputs[1], torch.tensor(val.labels)),
        options,
        shape=first.shape,
        mean=mean,
        std=std,
        background=0.0,
        classes=classes,
        files={**files, str(folder): _listing_digest(folder, train.paths + val.paths)},
        place=str(folder),
        found=found,
    )


def memory_budget() -> int:
    """Bytes that decoded images may take: a quarter of the memory that is free."""
    import psutil

    return int(psutil.virtual_memory().available) // 4


def read_image(path: Path, size: int | None) -> Tensor:
    """See `decode_image`.

    Raises:
        DataError: the file cannot be read, or is not an image.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{clean(path)}: cannot be read: {error.strerror or clean(error)}") from error
    return decode_image(content, path, size)


def _listing_digest(folder: Path, paths: Sequence[Path]) -> str:
    """SHA-256 over the sorted names and sizes: cheap for any number of images, changed by most edits."""
    lines = sorted(f"{path.relative_to(folder)}\t{path.stat().st_size}\n" for path in paths)
    return hashlib.sha256("".join(lines).encode("utf-8", "surrogateescape")).hexdigest()

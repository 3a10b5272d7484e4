"""CIFAR-10 (Krizhevsky, 2009): 32 x 32 colour photographs in 10 classes, from its binary version: no pickle."""

import io
import tarfile
import zlib
from collections.abc import Iterable

import numpy
import torch
from torch import Tensor

from d2lcli.data.dataset import Dataset
from d2lcli.data.download import Progress, obtain
from d2lcli.data.image_dataset import image_dataset
from d2lcli.data.sources import CIFAR10
from d2lcli.data.transforms import ImageOptions, Normalize
from d2lcli.errors import DataError, clean

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)  # of the 50,000 training images
TRAIN, TEST = tuple(f"data_batch_{i}.bin" for i in range(1, 6)), ("test_batch.bin",)
ROW = 1 + 3 * 32 * 32  # a label, then red, green and blue, row by row


def cifar10(
    *,
    root: str | None = None,
    image_size: int | None = None,
    flip: bool = False,
    vertical_flip: bool = False,
    crop_padding: int = 0,
    random_resized_crop: tuple[float, float] | None = None,
    color_jitter: tuple[float, float, float, float] | None = None,
    cutout: int | None = None,
    mixup: float = 0.0,
    cutmix: float = 0.0,
    normalize: Normalize = True,
    progress: Progress | None = None,
) -> Dataset:
    """All 50,000 training and 10,000 test images: the archive is found on this machine, else downloaded.

    Args:
        root: a folder to look in first, for cifar-10-binary.tar.gz.
        image_size: the side after resizing; None keeps 32.
        flip, vertical_flip, crop_padding, random_resized_crop, color_jitter, cutout, mixup, cutmix, normalize: see
            `d2lcli.data.transforms.ImageOptions`.
        progress: told how far a download is.

    Raises:
        ValueError: an option out of range, or `root` is not a folder.
        DataError: the archive is not here and cannot be downloaded, or is damaged.
    """
    options = ImageOptions(
        image_size=image_size,
        flip=flip,
        vertical_flip=vertical_flip,
        crop_padding=crop_padding,
        random_resized_crop=random_resized_crop,
        color_jitter=color_jitter,
        cutout=cutout,
        mixup=mixup,
        cutmix=cutmix,
        normalize=normalize,
    )
    content, digest, path, place = obtain(CIFAR10, root, progress)
    members = _unpack(content, path)
    return image_dataset(
        "cifar10",
        _examples(members, TRAIN, path),
        _examples(members, TEST, path),
        options,
        shape=(3, 32, 32),
        mean=MEAN,
        std=STD,
        background=0.0,
        classes=CLASSES,
        files={str(path): digest},
        place=place,
    )


def _unpack(content: bytes, path: object) -> dict[str, bytes]:
    """The binary files of the archive by name."""
    members: dict[str, bytes] = {}
    try:
        with tarfile.open(fileobj=io.BytesIO(content), mode="r:gz") as archive:
            for member in archive:
                name = member.name.rpartition("/")[2]
                stream = archive.extractfile(member) if name in TRAIN + TEST else None
                if stream is not None:
                    members[name] = stream.read()
    except (tarfile.TarError, zlib.error, EOFError, OSError) as error:
        raise DataError(f"{clean(path)}: damaged archive: {clean(error)}") from error
    return members


def _examples(members: dict[str, bytes], names: Iterable[str], path: object) -> tuple[Tensor, Tensor]:
    """Images, uint8 (n, 3, 32, 32), and labels (n,)."""
    parts = [parse_rows(members.get(name, b""), f"{path}/{name}") for name in names]
    return torch.cat([images for images, _ in parts]), torch.cat([labels for _, labels in parts])


def parse_rows(content: bytes, path: object) -> tuple[Tensor, Tensor]:
    """Rows of a label and 3,072 pixels: images, uint8 (n, 3, 32, 32), and labels (n,).

    Raises:
        DataError: not a whole number of rows, none, or a label that is no class.
    """
    if not content or len(content) % ROW:
        raise DataError(f"{clean(path)}: {len(content)} bytes; want rows of {ROW} bytes")
    rows = torch.from_numpy(numpy.frombuffer(content, dtype=numpy.uint8).copy()).view(-1, ROW)
    labels = rows[:, 0].long()
    if int(labels.max()) >= len(CLASSES):
        raise DataError(f"{clean(path)}: label {int(labels.max())}, and there are {len(CLASSES)} classes")
    return rows[:, 1:].reshape(-1, 3, 32, 32).contiguous(), labels

"""Fashion-MNIST (Xiao, Rasul and Vollgraf, 2017): 28 x 28 grey images of clothes in 10 classes, whole and in small."""

from pathlib import Path

from torch import Tensor

from d2lcli.data.dataset import Dataset, Split
from d2lcli.data.download import Progress, fetch
from d2lcli.data.find import Found, locate, read_checked
from d2lcli.data.idx import parse_idx
from d2lcli.data.sources import FASHION_MNIST, FASHION_MNIST_MINI, Source
from d2lcli.data.transforms import image_transforms

CLASSES = ("t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")
MEAN, STD = (0.2860,), (0.3530,)  # of the 60,000 training images


def fashion_mnist_mini(
    *,
    root: str | None = None,
    image_size: int | None = None,
    flip: bool = False,
    crop_padding: int = 0,
    normalize: bool = True,
) -> Dataset:
    """The first 1,000 training and 200 test images of every class, embedded in the package.

    Args:
        root: a folder to look in first.
        image_size: the side after resizing; None keeps 28.
        flip: in training, mirror half of the images.
        crop_padding: in training, crop at random after padding by so many pixels.
        normalize: subtract the mean of the whole training set and divide by its standard deviation.

    Raises:
        ValueError: an option out of range, or `root` is not a folder.
        DataError: a file is missing or damaged.
    """
    found = locate(FASHION_MNIST_MINI, root)
    assert found is not None
    return _build(FASHION_MNIST_MINI, found, image_size, flip, crop_padding, normalize)


def fashion_mnist(
    *,
    root: str | None = None,
    image_size: int | None = None,
    flip: bool = False,
    crop_padding: int = 0,
    normalize: bool = True,
    progress: Progress | None = None,
) -> Dataset:
    """All 60,000 training and 10,000 test images: found on this machine, else downloaded.

    Args:
        root: a folder to look in first.
        image_size: the side after resizing; None keeps 28.
        flip: in training, mirror half of the images.
        crop_padding: in training, crop at random after padding by so many pixels.
        normalize: subtract the mean of the training set and divide by its standard deviation.
        progress: told how far a download is.

    Raises:
        ValueError: an option out of range, or `root` is not a folder.
        DataError: the files are not here and cannot be downloaded, or one is damaged.
    """
    found = locate(FASHION_MNIST, root) or fetch(FASHION_MNIST, progress=progress)
    return _build(FASHION_MNIST, found, image_size, flip, crop_padding, normalize)


def _build(
    source: Source, found: Found, image_size: int | None, flip: bool, crop_padding: int, normalize: bool
) -> Dataset:
    prepare, augment, shape = image_transforms(
        (1, 28, 28),
        image_size=image_size,
        flip=flip,
        crop_padding=crop_padding,
        normalize=normalize,
        mean=MEAN,
        std=STD,
        background=0.0,
    )
    files: dict[str, str] = {}
    tensors: dict[str, Tensor] = {}
    for file in source.files:
        path: Path = found.paths[file.name]
        content, files[str(path)] = read_checked(path, file)
        tensors[file.name.partition("-idx")[0]] = parse_idx(content, path, 3 if "images" in file.name else 1)
    train = Split(*_pair(tensors, "train"), prepare, augment, "train", found.place)
    val = Split(*_pair(tensors, "t10k"), prepare, None, "val", found.place)
    return Dataset(source.name, train, val, shape, len(CLASSES), CLASSES, files, found.place)


def _pair(tensors: dict[str, Tensor], stem: str) -> tuple[Tensor, Tensor]:
    """Images (n, 1, 28, 28) and labels (n,)."""
    return tensors[f"{stem}-images"].unsqueeze(1), tensors[f"{stem}-labels"].long()

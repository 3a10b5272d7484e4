"""Fashion-MNIST (Xiao, Rasul and Vollgraf, 2017): 28 x 28 grey images of clothes in 10 classes, whole and in small."""

from pathlib import Path

from torch import Tensor

from d2lcli.data.dataset import Dataset
from d2lcli.data.download import Progress, fetch
from d2lcli.data.find import Found, locate, read_checked
from d2lcli.data.idx import parse_idx
from d2lcli.data.image_dataset import image_dataset
from d2lcli.data.sources import FASHION_MNIST, FASHION_MNIST_MINI, Source
from d2lcli.data.transforms import ImageOptions, Normalize

CLASSES = ("t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")
MEAN, STD = (0.2860,), (0.3530,)  # of the 60,000 training images


def fashion_mnist_mini(
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
) -> Dataset:
    """The first 1,000 training and 200 test images of every class, embedded in the package.

    Args:
        root: a folder to look in first.
        image_size: the side after resizing; None keeps 28.
        flip, vertical_flip, crop_padding, random_resized_crop, color_jitter, cutout, mixup, cutmix, normalize: see
            `d2lcli.data.transforms.ImageOptions`.

    Raises:
        ValueError: an option out of range, or `root` is not a folder.
        DataError: a file is missing or damaged.
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
    found = locate(FASHION_MNIST_MINI, root)
    assert found is not None
    return _build(FASHION_MNIST_MINI, found, options)


def fashion_mnist(
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
    """All 60,000 training and 10,000 test images: found on this machine, else downloaded.

    Args:
        root: a folder to look in first.
        image_size: the side after resizing; None keeps 28.
        flip, vertical_flip, crop_padding, random_resized_crop, color_jitter, cutout, mixup, cutmix, normalize: see
            `d2lcli.data.transforms.ImageOptions`.
        progress: told how far a download is.

    Raises:
        ValueError: an option out of range, or `root` is not a folder.
        DataError: the files are not here and cannot be downloaded, or one is damaged.
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
    found = locate(FASHION_MNIST, root) or fetch(FASHION_MNIST, progress=progress)
    return _build(FASHION_MNIST, found, options)


def _build(source: Source, found: Found, options: ImageOptions) -> Dataset:
    files: dict[str, str] = {}
    tensors: dict[str, Tensor] = {}
    for file in source.files:
        path: Path = found.paths[file.name]
        content, files[str(path)] = read_checked(path, file)
        tensors[file.name.partition("-idx")[0]] = parse_idx(content, path, 3 if "images" in file.name else 1)
    return image_dataset(
        source.name,
        _pair(tensors, "train"),
        _pair(tensors, "t10k"),
        options,
        shape=(1, 28, 28),
        mean=MEAN,
        std=STD,
        background=0.0,
        classes=CLASSES,
        files=files,
        place=found.place,
    )


def _pair(tensors: dict[str, Tensor], stem: str) -> tuple[Tensor, Tensor]:
    """Images (n, 1, 28, 28) and labels (n,)."""
    return tensors[f"{stem}-images"].unsqueeze(1), tensors[f"{stem}-labels"].long()

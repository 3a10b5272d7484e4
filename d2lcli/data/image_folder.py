"""The user's own images: one folder for each class, or train/ and val/ with such folders inside."""

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from d2lcli.data.dataset import Dataset, ImageReader
from d2lcli.data.find import is_folder
from d2lcli.data.image_dataset import image_dataset
from d2lcli.data.images import decode_image
from d2lcli.data.splitting import hash_order, stratified_split
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


def image_folder(
    *,
    path: str | None = None,
    image_size: int | None = None,
    val_share: float = 0.2,
    skip_unreadable: bool = False,
    flip: bool = False,
    vertical_flip: bool = False,
    crop_padding: int = 0,
    random_resized_crop: tuple[float, float] | None = None,
    color_jitter: tuple[float, float, float, float] | None = None,
    cutout: int | None = None,
    mixup: float = 0.0,
    cutmix: float = 0.0,
    normalize: bool = True,
) -> Dataset:
    """Images below `path`, as RGB.  In memory where they take less than a quarter of what is free, else read as needed.

    Args:
        path: the folder.  With train/ and val/ inside, these are the splits; otherwise the hash of each file's name
            decides, with the same share of every class.
        image_size: s: scale each image until its shorter side is s and cut the middle s x s out; None keeps them as
            they are, and then all must have one size.
        val_share: the share of each class that validates, between 0 and 1, where there is no val/.
        skip_unreadable: leave unreadable images out, and say how many; otherwise the first one is an error.
        flip, vertical_flip, crop_padding, random_resized_crop, color_jitter, cutout, mixup, cutmix, normalize: see
            `d2lcli.data.transforms.ImageOptions`.

    Raises:
        ValueError: path not given, or an option out of range.
        DataError: no such folder, no images, a split or class without any, an unreadable image, or several sizes.
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
    if path is None:
        raise ValueError("path is not given; name the folder with data.path=FOLDER")
    if not is_folder(path):
        raise DataError(f"data.path: '{clean(path)}' is not an existing folder")
    folder = Path(path)
    train, val, classes = _scan(folder, val_share)
    skipped = 0
    if skip_unreadable:
        (train, left_out), (val, left_out_too) = _readable(train), _readable(val)
        skipped = left_out + left_out_too
    said = f"{folder}" + (f" ({skipped} unreadable images left out)" if skipped else "")
    digests = {str(folder): listing_digest(folder, train.paths + val.paths)}
    return file_dataset("image_folder", folder, train, val, options, classes=classes, files=digests, found=said)


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
    """A data set of image files below `folder`; see `image_dataset`.

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
        files=files,
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


def _scan(folder: Path, val_share: float) -> tuple[Files, Files, tuple[str, ...]]:
    parts = {part: (folder / part).is_dir() for part in ("train", "val")}
    if not any(parts.values()):
        classes = _classes(folder)
        files = _list(folder, classes)
        train, val = stratified_split([str(path.relative_to(folder)) for path in files.paths], files.labels, val_share)
        return files[train], files[val], classes
    for part, there in parts.items():
        if not there:
            raise DataError(f"{clean(folder)}: there is no {part}/ beside the other split")
    classes = _classes(folder / "train")
    unknown = set(_classes(folder / "val")) - set(classes)
    if unknown:
        raise DataError(f"{clean(folder / 'val')}: class '{clean(min(unknown), 80)}' is not in train/")
    train_files, val_files = _list(folder / "train", classes), _list(folder / "val", classes)
    return _mixed(train_files, folder), _mixed(val_files, folder), classes


def _mixed(files: Files, folder: Path) -> Files:
    """In hash order, so that the first examples are not all of one class."""
    return files[hash_order([str(path.relative_to(folder)) for path in files.paths])]


def _classes(folder: Path) -> tuple[str, ...]:
    names = sorted(entry.name for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    if not names:
        raise DataError(f"{clean(folder)}: no folders of images in it, one for each class")
    return tuple(names)


def _list(folder: Path, classes: Sequence[str]) -> Files:
    files = Files([], [])
    for label, name in enumerate(classes):
        paths = sorted(_images_below(folder / name))
        files.paths.extend(paths)
        files.labels.extend([label] * len(paths))
    if not files.paths:
        raise DataError(f"{clean(folder)}: no images; known endings are {', '.join(sorted(SUFFIXES))}")
    empty = set(range(len(classes))) - set(files.labels)
    if empty and folder.name != "val":
        raise DataError(f"{clean(folder)}: no images of class '{clean(classes[min(empty)], 80)}'")
    return files


def _images_below(folder: Path) -> Iterator[Path]:
    for base, _, names in os.walk(folder):
        yield from (Path(base, name) for name in names if Path(name).suffix.lower() in SUFFIXES and name[0] != ".")


def _readable(files: Files) -> tuple[Files, int]:
    """The files that decode, and how many do not."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        good = [row for row, fine in enumerate(pool.map(_decodes, files.paths)) if fine]
    return files[good], len(files.paths) - len(good)


def _decodes(path: Path) -> bool:
    try:
        read_image(path, None)
    except DataError:
        return False
    return True


def listing_digest(folder: Path, paths: Sequence[Path]) -> str:
    """SHA-256 over the sorted names and sizes: cheap for any number of images, changed by most edits."""
    lines = sorted(f"{path.relative_to(folder)}\t{path.stat().st_size}\n" for path in paths)
    return hashlib.sha256("".join(lines).encode("utf-8", "surrogateescape")).hexdigest()

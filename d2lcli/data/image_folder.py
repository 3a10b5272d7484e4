"""The user's own images: one folder for each class, or train/ and val/ with such folders inside."""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from d2lcli.data.dataset import Dataset
from d2lcli.data.find import is_folder
from d2lcli.data.image_files import SUFFIXES, Files, file_dataset, read_image
from d2lcli.data.splitting import hash_order, stratified_split
from d2lcli.data.transforms import ImageOptions, Normalize
from d2lcli.errors import DataError, clean


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
    normalize: Normalize = True,
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
    return file_dataset("image_folder", folder, train, val, options, classes=classes, files={}, found=said)


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

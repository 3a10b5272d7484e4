"""Images in one folder and a table with the label of each: the layout of Kaggle's CIFAR-10 and dog breeds."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

from d2lcli.data.dataset import Dataset
from d2lcli.data.find import is_folder
from d2lcli.data.image_files import SUFFIXES, Files, file_dataset
from d2lcli.data.splitting import stratified_split
from d2lcli.data.table import Table, read_table
from d2lcli.data.transforms import ImageOptions, Normalize
from d2lcli.errors import DataError, clean

TABLES = ("trainLabels.csv", "labels.csv", "train.csv")


def labelled_images(
    *,
    path: str | None = None,
    labels: str | None = None,
    images: str = "train",
    image_size: int | None = None,
    val_share: float = 0.1,
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
    """Images as RGB.  The hash of each file's name decides which of them validate, the same share of every class.

    Args:
        path: the folder.
        labels: the table in it, comma-separated, with a line of names: the first column holds the file's name, with or
            without its ending, the second the class.  None looks for trainLabels.csv, labels.csv or train.csv.
        images: the folder in it with the images; those that the table does not name are left out.
        image_size: s: scale each image until its shorter side is s and cut the middle s x s out; None keeps them as
            they are, and then all must have one size.
        val_share: the share of each class that validates, between 0 and 1.
        flip, vertical_flip, crop_padding, random_resized_crop, color_jitter, cutout, mixup, cutmix, normalize: see
            `d2lcli.data.transforms.ImageOptions`.

    Raises:
        ValueError: path not given, or an option out of range.
        DataError: no such folder or table, a row without an image, an unreadable image, or several sizes.
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
    file = _table_file(folder, labels)
    content = _read(file)
    table = read_table(content, str(file))
    paths, names = _match(table, _listing(folder / images))
    classes = tuple(sorted(set(names)))
    every = Files(paths, [classes.index(name) for name in names])
    train, val = stratified_split([path.name for path in paths], every.labels, val_share)
    digests = {str(file): hashlib.sha256(content).hexdigest()}
    return file_dataset(
        "labelled_images",
        folder,
        every[train],
        every[val],
        options,
        classes=classes,
        files=digests,
        found=f"{folder}, labels in {file.name}",
    )


def _table_file(folder: Path, labels: str | None) -> Path:
    """The table that is named, or the first of the usual ones."""
    candidates = [labels] if labels is not None else TABLES
    for name in candidates:
        if (folder / name).is_file():
            return folder / name
    raise DataError(
        f"{clean(folder)}: no table of labels, {' or '.join(map(clean, candidates))}", "name it with data.labels=FILE"
    )


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise DataError(f"{clean(file)}: cannot be read: {error.strerror or clean(error)}") from error


def _listing(folder: Path) -> dict[str, Path]:
    """The images of a folder by name, and by name without its ending."""
    if not folder.is_dir():
        raise DataError(f"{clean(folder)}: not an existing folder", "name the folder of images with data.images=FOLDER")
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
    return {path.stem: path for path in files} | {path.name: path for path in files}


def _match(table: Table, listing: Mapping[str, Path]) -> tuple[list[Path], list[str]]:
    """The image and the class of each row."""
    if len(table.names) < 2:
        raise DataError(f"{clean(table.path)}: one column; want the name of an image and its class")
    ids, names = table.column(table.names[0]), table.column(table.names[1])
    seen: set[Path] = set()
    for row, (key, name) in enumerate(zip(ids, names)):
        problem = ""
        if key not in listing:
            problem = f"no image '{clean(key, 80)}' beside it"
        elif listing[key] in seen:
            problem = f"image '{clean(key, 80)}' has a row already"
        elif not name:
            problem = f"image '{clean(key, 80)}' has no class"
        if problem:
            raise DataError(f"{clean(table.path)}, line {table.lines[row]}: {problem}")
        seen.add(listing[key])
    return [listing[key] for key in ids], names

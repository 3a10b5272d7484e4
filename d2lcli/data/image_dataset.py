"""Labelled images as a data set: both splits with their transforms."""

from collections.abc import Mapping, Sequence

from torch import Tensor

from d2lcli.data.dataset import Dataset, ImageReader, Split
from d2lcli.data.mixing import mixing
from d2lcli.data.transforms import ImageOptions, image_transforms


def image_dataset(
    name: str,
    train: tuple[Tensor | ImageReader, Tensor],
    val: tuple[Tensor | ImageReader, Tensor],
    options: ImageOptions,
    *,
    shape: Sequence[int],
    mean: Sequence[float],
    std: Sequence[float],
    background: float,
    classes: tuple[str, ...],
    files: Mapping[str, str],
    place: str,
    found: str = "",
) -> Dataset:
    """Images for classification.  What is random goes to the training split only.

    Args:
        name: the registry's name.
        train: images and labels (n,) to learn from.
        val: images and labels to judge by.
        options: the transforms.
        shape: (c, h, w) of the images as they are stored.
        mean: of the training images by channel, pixels in [0, 1].
        std: likewise.
        background: the pixel value in [0, 1] that padding shows.
        classes: their names.
        files: path -> SHA-256.
        place: where the examples were found, for messages.
        found: the same in more words, where there are more.

    Raises:
        ValueError: an option out of range.
    """
    prepare, augment, prepared = image_transforms(shape, options, mean=mean, std=std, background=background)
    mix = mixing(options.mixup, options.cutmix, len(classes))
    return Dataset(
        name,
        Split(*train, prepare, augment, "train", place, mix),
        Split(*val, prepare, None, "val", place),
        prepared,
        len(classes),
        classes,
        files,
        found or place,
    )

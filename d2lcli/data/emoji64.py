"""1,636 emoji of the Noto Emoji font, 64 x 64 pixels in colour on white, in 8 classes."""

import torch

from d2lcli.data.archive import read_members
from d2lcli.data.dataset import Dataset
from d2lcli.data.find import locate, read_checked
from d2lcli.data.image_dataset import image_dataset
from d2lcli.data.images import decode_image
from d2lcli.data.sources import EMOJI64
from d2lcli.data.splitting import stratified_split
from d2lcli.data.transforms import ImageOptions, Normalize, channel_statistics


def emoji64(
    *,
    root: str | None = None,
    image_size: int | None = None,
    val_share: float = 0.2,
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
    """The embedded archive, split once and for all by the hash of each file's name, the same share of every class.

    Args:
        root: a folder to look in first.
        image_size: the side after resizing; None keeps 64.
        val_share: the share of each class that validates, between 0 and 1.
        flip, vertical_flip, crop_padding, random_resized_crop, color_jitter, cutout, mixup, cutmix, normalize: see
            `d2lcli.data.transforms.ImageOptions`.

    Raises:
        ValueError: an option out of range, or `root` is not a folder.
        DataError: the file is missing or damaged.
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
    found = locate(EMOJI64, root)
    assert found is not None
    path = found.paths[EMOJI64.files[0].name]
    content, digest = read_checked(path, EMOJI64.files[0])
    members = read_members(content, path, max_members=2000, max_bytes=8 << 20)
    names = list(members)
    classes = tuple(sorted({name.partition("/")[0] for name in names}))
    labels = [classes.index(name.partition("/")[0]) for name in names]
    train, val = stratified_split(names, labels, val_share)
    if not val:
        raise ValueError(f"val_share is {val_share}; no class has enough images for it")
    images = torch.stack([decode_image(members[name], f"{path}/{name}") for name in names])  # (n, 3, 64, 64)
    targets = torch.tensor(labels)
    mean, std = channel_statistics(images[train])
    return image_dataset(
        "emoji64",
        (images[train], targets[train]),
        (images[val], targets[val]),
        options,
        shape=images.shape[1:],
        mean=mean,
        std=std,
        background=1.0,
        classes=classes,
        files={str(path): digest},
        place=found.place,
    )

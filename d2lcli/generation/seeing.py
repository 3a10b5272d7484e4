"""Classes of given images, by the model of a finished run (d2l 14.13, 14.14).

Legend: n images, q classes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from d2lcli.data.image_files import SUFFIXES, read_image
from d2lcli.data.transforms import Prepare
from d2lcli.errors import CheckpointError, ConfigError, DataError, clean
from d2lcli.generation.labelling import probabilities
from d2lcli.generation.opening import open_run
from d2lcli.training.runfolder import RunFolder

BATCH = 64  # images that are seen at once
LUMA = (0.299, 0.587, 0.114)  # what red, green and blue count in gray (ITU-R BT.601)


@dataclass(frozen=True)
class ImageClassifier:
    """A classifier of images that can be asked.

    Attributes:
        classes: their names in the order of the outputs.
        channels: of an image: 3, or 1 for gray.
        side: of an image before it is prepared; larger ones lose what is beside the middle square.
        prepare: what the run did with its images.
        values: the config of the run.
        checkpoint: the folder that the weights came from.
    """

    model: nn.Module
    device: torch.device
    classes: tuple[str, ...]
    channels: int
    side: int
    prepare: Prepare
    values: dict[str, Any]
    checkpoint: Path


@dataclass(frozen=True)
class Seen:
    """One image with its class.

    Attributes:
        path: of the file.
        label: the most probable class.
        probabilities: of all classes, the most probable first.
    """

    path: str
    label: str
    probabilities: dict[str, float]


def open_image_classifier(path: Path, values: dict[str, Any], checkpoint: str = "best") -> ImageClassifier:
    """A run's classifier of images from its folder alone: its data is not read.

    Raises:
        ConfigError: the run's examples are neither texts nor images.
        CheckpointError: no run, no such checkpoint, a damaged one, or one that does not tell how it sees images.
    """
    if "normalize" not in values["data"]:
        raise ConfigError(
            f"{clean(path)}: model '{values['model']['name']}' judges what data '{values['data']['name']}' holds, "
            "which is neither texts nor images",
            "measure it on data: d2l evaluate RUN",
        )
    run = open_run(path, values, checkpoint)
    facts = RunFolder(path).read_meta().get("data", {})
    pixels, classes = facts.get("pixels"), facts.get("classes")
    if not pixels or not classes:
        raise CheckpointError(
            f"{clean(path)}: meta.json does not tell the classes, or the mean and deviation of the images",
            "train the run again: d2l train",
        )
    channels, height, width = pixels["shape"]
    if height != width:
        raise ConfigError(f"{clean(path)}: its images are {width} x {height}, but only square ones can be given")
    prepare = Prepare(pixels["size"], tuple(pixels["mean"]), tuple(pixels["std"]))
    side = pixels["size"] or height
    model = run.model((channels, side, side), len(classes))
    return ImageClassifier(
        model, run.device, tuple(map(str, classes)), channels, height, prepare, values, run.checkpoint
    )


@torch.no_grad()
def see(source: ImageClassifier, paths: Sequence[Path]) -> list[Seen]:
    """The class of each image, in their order.

    Raises:
        DataError: a file cannot be read, or is no image.
    """
    found = []
    for start in range(0, len(paths), BATCH):
        batch = paths[start : start + BATCH]
        images = torch.stack([as_stored(read_image(path, source.side), source.channels) for path in batch])
        logits: Tensor = source.model(source.prepare(images.to(source.device)))  # (n, q)
        for path, row in zip(batch, logits.double(), strict=True):
            shares = probabilities(row, source.classes, source.values)
            found.append(Seen(str(path), next(iter(shares)), shares))
    return found


def as_stored(image: Tensor, channels: int) -> Tensor:
    """An RGB image, uint8 (3, h, w), with so many channels: gray is .299 red + .587 green + .114 blue."""
    if channels == 3:
        return image
    gray = (image.double() * torch.tensor(LUMA, dtype=torch.float64)[:, None, None]).sum(0, keepdim=True)
    return gray.round().to(torch.uint8)


def image_paths(names: Sequence[str]) -> list[Path]:
    """The files that are named, and all images of named folders.

    Raises:
        DataError: there is no such file, or a folder has no image.
    """
    found: list[Path] = []
    for name in names:
        path = Path(name).expanduser()
        if path.is_dir():
            inside = sorted(each for each in path.rglob("*") if each.suffix.lower() in SUFFIXES)
            if not inside:
                raise DataError(f"{clean(path)}: no image is in this folder")
            found += inside
        else:
            found.append(path)
    return found

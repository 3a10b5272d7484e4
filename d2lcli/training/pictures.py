"""Tensors as PNG files."""

from io import BytesIO
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from d2lcli.training.files import replace_file


def encode_png(image: Tensor) -> bytes:
    """The bytes of a PNG file: the same for the same picture.

    Args:
        image: uint8 (1 or 3, h, w), grey or red, green and blue.

    Raises:
        ValueError: another type or shape.
    """
    if image.dtype != torch.uint8 or image.dim() != 3 or image.shape[0] not in (1, 3):
        raise ValueError(f"a picture is uint8 (1 or 3, height, width), not {image.dtype} {tuple(image.shape)}")
    pixels = image.cpu().permute(1, 2, 0).contiguous()
    encoded = BytesIO()
    Image.fromarray(pixels.squeeze(2).numpy()).save(encoded, format="PNG")
    return encoded.getvalue()


def write_png(path: Path, image: Tensor) -> None:
    """Write a picture in one go; the folder is made where it is missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, encode_png(image))

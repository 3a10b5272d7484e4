"""Decoding image files with Pillow into uint8 tensors (3, h, w)."""

import io
import warnings

import numpy
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from d2lcli.errors import DataError, clean

# Pillow only warns of an image with more pixels than a picture has, up to twice as many; here it is refused.
warnings.simplefilter("error", Image.DecompressionBombWarning)


def decode_image(content: bytes, path: object, size: int | None = None) -> Tensor:
    """The image as RGB, uint8 (3, h, w).

    Args:
        content: the file's bytes, in any format that Pillow reads.
        path: named in errors.
        size: s: scale the image until its shorter side is s and cut the middle s x s out; None keeps it as it is.

    Raises:
        DataError: not an image, damaged, or cut off.
    """
    try:
        with Image.open(io.BytesIO(content)) as opened:
            image = ImageOps.exif_transpose(opened).convert("RGB")
        if size is not None and image.size != (size, size):
            image = ImageOps.fit(image, (size, size), Image.Resampling.BILINEAR)
    except UnidentifiedImageError:
        raise DataError(f"{clean(path)}: not a readable image: of no format that Pillow knows") from None
    except Exception as error:  # a decoder that is given damaged bytes may raise anything
        raise DataError(f"{clean(path)}: not a readable image: {clean(error)}") from error
    return torch.from_numpy(numpy.array(image)).permute(2, 0, 1).contiguous()

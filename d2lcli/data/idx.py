"""The IDX format of MNIST: two zero bytes, a type, the number of dimensions, big-endian sizes, then the values."""

import math
import struct

import torch
from torch import Tensor

from d2lcli.errors import DataError, clean

UNSIGNED_BYTE = 0x08


def parse_idx(content: bytes, path: object, dimensions: int) -> Tensor:
    """The uint8 tensor of an IDX file.

    Args:
        content: all bytes of the file, decompressed.
        path: named in errors.
        dimensions: how many there must be: 3 for images (n, h, w), 1 for labels (n,).

    Raises:
        DataError: another format, or a header that does not fit the length.
    """
    header = 4 + 4 * dimensions
    if len(content) < header or content[:4] != bytes((0, 0, UNSIGNED_BYTE, dimensions)):
        raise DataError(f"{clean(path)}: not an IDX file of bytes with {dimensions} dimensions")
    shape = struct.unpack(f">{dimensions}I", content[4:header])
    if math.prod(shape) != len(content) - header:
        found = len(content) - header
        raise DataError(f"{clean(path)}: the header says {shape}, {math.prod(shape)} bytes, but {found} bytes follow")
    values = torch.frombuffer(bytearray(content), dtype=torch.uint8)
    return values[header:].clone().view(shape)

"""Pictures of what a model makes: a grid of images, or points of the plane as a scatter plot."""

from collections.abc import Sequence

import torch
from torch import Tensor

GAP = 2  # white pixels between the images of a grid
SIDE = 320  # of a scatter plot, in pixels
BLUE, RED = (90, 130, 190), (210, 60, 40)


def to_pixels(images: Tensor, low: float = -1.0, high: float = 1.0) -> Tensor:
    """Images (n, c, h, w) of values from `low` (black) to `high` (white) as uint8."""
    return ((images.float() - low) * (255 / (high - low))).round().clamp(0, 255).to(torch.uint8)


def image_grid(images: Tensor, columns: int = 8) -> Tensor:
    """Images (n, c, h, w) beside and below one another, row by row, on white: (c, H, W).

    Raises:
        ValueError: columns below 1.
    """
    if columns < 1:
        raise ValueError(f"columns={columns!r} must be at least 1")
    count, channels, height, width = images.shape
    columns = min(columns, count)
    rows = -(-count // columns)
    size = (channels, rows * (height + GAP) + GAP, columns * (width + GAP) + GAP)
    canvas = torch.full(size, 255, dtype=torch.uint8)
    for i, image in enumerate(images.cpu()):
        top, left = (GAP + (i // columns) * (height + GAP), GAP + (i % columns) * (width + GAP))
        canvas[:, top : top + height, left : left + width] = image
    return canvas


def scatter(real: Tensor, made: Tensor) -> Tensor:
    """Points (n, d) by their first two numbers, real ones blue and made ones red on top: (3, SIDE, SIDE), y upwards.

    The real points, which stay the same during a training, fix the part of the plane that is shown.
    """
    real, made = (torch.nn.functional.pad(points, (0, 1))[:, :2] for points in (real, made))  # y = 0 where d = 1
    canvas = torch.full((3, SIDE, SIDE), 255, dtype=torch.uint8)
    low, high = real.amin(0), real.amax(0)
    margin = (high - low).clamp(min=1e-6) / 4
    for points, colour in ((real, BLUE), (made, RED)):
        _dots(canvas, (points - low + margin) / (high - low + 2 * margin), colour)
    return canvas


def _dots(canvas: Tensor, places: Tensor, colour: Sequence[int]) -> None:
    """Squares of 3 x 3 pixels at places (n, 2) within the unit square; what lies outside is not drawn."""
    inside = places[((places >= 0) & (places <= 1)).all(1)].cpu()
    columns = (1 + inside[:, 0] * (SIDE - 3)).long()
    rows = (1 + (1 - inside[:, 1]) * (SIDE - 3)).long()
    for down in (-1, 0, 1):
        for right in (-1, 0, 1):
            canvas[:, rows + down, columns + right] = torch.tensor(colour, dtype=torch.uint8)[:, None]

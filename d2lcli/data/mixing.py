"""Training batches whose examples are mixtures of two: mixup and cutmix.

Legend: b examples of a batch, C classes, h height, w width.
"""

from dataclasses import dataclass

import numpy
import torch
from torch import Tensor


@dataclass(frozen=True)
class Drawn:
    """What chance decided for one global batch.

    Args:
        cut: cutmix, not mixup.
        share: of each example in its mixture, lambda.
        row: of the centre of the box of cutmix, as a share of the height, below 1.
        column: likewise, of the width.
    """

    cut: bool
    share: float
    row: float
    column: float


@dataclass(frozen=True)
class Mixing:
    """Each example is mixed with the one before it in the global batch, the first with the last.

    mixup:  x = lambda x_1 + (1 - lambda) x_2, lambda ~ Beta(alpha, alpha).
    cutmix: a box with the share 1 - lambda of the image's area is copied from x_2 into x_1; its centre is any pixel,
            what sticks out is cut off, and lambda becomes the share of x_1 that is left.
    Targets are mixed in the same shares: y = lambda y_1 + (1 - lambda) y_2, as probabilities of the classes.  Where
    both are on, each batch has one of them, with probability 1/2.  lambda and the box belong to the global batch.

    Source: Zhang et al. (2018); Yun et al. (2019).

    Args:
        mixup: alpha; 0 for none.
        cutmix: alpha; 0 for none.
        num_classes: C.
    """

    mixup: float
    cutmix: float
    num_classes: int

    def draw(self, count: int, seed: int) -> list[Drawn]:
        """What chance decides for the `count` global batches of an epoch."""
        generator = numpy.random.default_rng(seed)
        choice, row, column = generator.random((3, count))
        cut = choice < 0.5 if self.mixup and self.cutmix else numpy.full(count, bool(self.cutmix))
        shares = [
            generator.beta(alpha, alpha, count) if alpha else numpy.ones(count) for alpha in (self.mixup, self.cutmix)
        ]
        share = numpy.where(cut, shares[1], shares[0])
        return [Drawn(*values) for values in zip(cut.tolist(), share.tolist(), row.tolist(), column.tolist())]

    def __call__(self, inputs: Tensor, targets: Tensor, drawn: Drawn) -> tuple[Tensor, Tensor]:
        """Mix a batch, or one process's part of it.

        Args:
            inputs: (b + 1, c, h, w), the first row the one before the part.
            targets: labels (b + 1,).
            drawn: for this batch.

        Returns:
            Inputs (b, c, h, w) and probabilities (b, C).
        """
        first, second = inputs[1:], inputs[:-1]
        share = drawn.share
        if drawn.cut:
            top, bottom, left, right = box(drawn, inputs.shape[2], inputs.shape[3])
            share = 1 - (bottom - top) * (right - left) / (inputs.shape[2] * inputs.shape[3])
            mixed = first.clone()
            mixed[:, :, top:bottom, left:right] = second[:, :, top:bottom, left:right]
        else:
            mixed = (first * share).add_(second * (1 - share))
        labels = targets[:, None] == torch.arange(self.num_classes, device=targets.device)  # (b + 1, C)
        return mixed, labels[1:] * share + labels[:-1] * (1 - share)


def box(drawn: Drawn, h: int, w: int) -> tuple[int, int, int, int]:
    """Top, bottom, left and right of the box of cutmix: its sides are sqrt(1 - lambda) times those of the image."""
    bounds: list[int] = []
    for center, size in ((drawn.row, h), (drawn.column, w)):
        side = int(size * (1 - drawn.share) ** 0.5)
        low = int(center * size) - side // 2
        bounds += [max(low, 0), min(low + side, size)]
    top, bottom, left, right = bounds
    return top, bottom, left, right


def mixing(mixup: float, cutmix: float, num_classes: int) -> Mixing | None:
    """Mixtures as asked for; None where both are 0.

    Raises:
        ValueError: an alpha below 0.
    """
    for name, alpha in (("mixup", mixup), ("cutmix", cutmix)):
        if not 0 <= alpha < float("inf"):
            raise ValueError(f"{name} is {alpha}; alpha must be at least 0, and 0 mixes nothing")
    return Mixing(mixup, cutmix, num_classes) if mixup or cutmix else None

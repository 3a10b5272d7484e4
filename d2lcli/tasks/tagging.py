"""Tagging: predict a class for each word of a text, such as its part of speech (d2l 16.6).

Legend: b texts, t tokens, C classes, n tagged tokens.
"""

from collections.abc import Sequence
from functools import partial

from torch import Tensor, nn

from d2lcli.errors import DataError
from d2lcli.tasks.metrics import Metric
from d2lcli.tasks.supervised import Batch, Loss, Supervised, call

IGNORED = -100  # a token without a tag: a special one, padding, or a further piece of a word


class Tagging(Supervised):
    """Outputs are logits (b, t, C), targets (b, t) in [0, C), or IGNORED; losses and metrics are of tagged tokens."""

    def train_loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """The mean over the tagged tokens of a batch."""
        outputs, targets = _tagged(model, batch)
        return self.training_loss(outputs, targets)

    def eval_step(self, model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """The loss of each tagged token (n,), the logits (n, C), and the classes (n,)."""
        outputs, targets = _tagged(model, batch)
        return self.loss(outputs, targets, reduction="none"), outputs, targets

    def check(self, shape: Sequence[int], num_outputs: int, targets: Tensor) -> None:
        """See `Supervised.check`; targets are classes of tokens, some of them IGNORED."""
        super().check(shape, num_outputs, targets)
        ignored = targets == IGNORED
        if targets.is_floating_point() or not ignored.any():
            raise DataError("tagging needs a tag for each word, not one target for a text")
        if ignored.all():
            raise DataError("no token has a tag")
        found = targets[~ignored]
        if int(found.min()) < 0 or int(found.max()) >= num_outputs:
            raise DataError(f"a tag is outside the {num_outputs} classes")


def _tagged(model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
    """Logits (n, C) and classes (n,)."""
    inputs, targets = batch
    kept = targets != IGNORED
    return call(model, inputs)[kept], targets[kept]


def tagging(loss: Loss, metrics: Sequence[Metric] = (), label_smoothing: float = 0.0) -> Tagging:
    """The task of predicting a class for each word.

    Args:
        loss: such as `d2lcli.tasks.losses.cross_entropy`.
        metrics: such as `d2lcli.tasks.metrics.accuracy()`, the share of the tagged tokens that are rightly tagged.
        label_smoothing: in [0, 1]; for training only.

    Raises:
        ValueError: smoothing out of range, or two metrics of one name.
    """
    if not 0 <= label_smoothing <= 1:
        raise ValueError(f"label_smoothing={label_smoothing!r} must be from 0 to 1")
    return Tagging(loss, metrics, partial(loss, label_smoothing=label_smoothing) if label_smoothing else None)

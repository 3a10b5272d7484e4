"""Word embeddings by counting: weighted least squares on the logarithms of co-occurrences (Pennington et al., 2014)."""

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from d2lcli.tasks.metrics import Metric
from d2lcli.tasks.supervised import Batch, Loss
from d2lcli.tasks.word_embedding import inner_model
from d2lcli.tasks.word_similarity import WordTask

ENOUGH = 100  # pairs with a rating


class GloveTask(WordTask):
    """A batch is (pairs of words (n, 2), the logarithms of how often they meet (n,))."""

    @property
    def monitor(self) -> str:
        """People's ratings decide which checkpoint is best, where the text has enough of their words.

        Vectors go on improving long after the loss has begun to rise on another text, most of whose pairs meet once.
        """
        rated = self.tests.rated if self.tests is not None else {}
        return next((name for name in self.metrics if name in rated and len(rated[name].pairs) >= ENOUGH), "loss")

    @property
    def mode(self) -> Literal["max", "min"]:
        """A high correlation is good, and a low loss."""
        return "min" if self.monitor == "loss" else "max"

    def train_loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """The mean loss of a batch of pairs."""
        pairs, logs = batch
        return self.loss(model(pairs[:, 0], pairs[:, 1]), logs)

    def eval_step(self, model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """The loss of each pair (n,), the vectors of all words, and the targets."""
        pairs, logs = batch
        predicted = model(pairs[:, 0], pairs[:, 1])
        return self.loss(predicted, logs, reduction="none"), inner_model(model).vectors(), logs


def glove(loss: Loss, metrics: Sequence[Metric] = ()) -> GloveTask:
    """The task of GloVe.

    Args:
        loss: `d2lcli.tasks.word_losses.weighted_least_squares`, with its options.
        metrics: of the vectors, wordsim353() and simlex999().

    Raises:
        ValueError: another loss, two metrics of one name, or one of predictions.
    """
    if getattr(loss, "func", loss).__name__ != "weighted_least_squares":
        raise ValueError("loss must be weighted_least_squares: the targets are logarithms of counts")
    probe: Any = loss(torch.zeros(1), torch.zeros(1))  # refuses options out of range before any data is read
    assert probe.ndim == 0
    return GloveTask(loss, metrics)

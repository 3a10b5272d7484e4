"""Word embeddings by prediction: skip-gram and CBOW by negative sampling, a tree or the whole softmax (d2l 15.1-4)."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from d2lcli.tasks.metrics import Metric
from d2lcli.tasks.supervised import Batch, Loss
from d2lcli.tasks.word_objectives import OBJECTIVES, NegativeSampling, Targets, descend
from d2lcli.tasks.word_similarity import WordTask


class WordEmbedding(WordTask):
    """A batch is (words (c, t + 2w), which of those around each place belong to its window (c, t, 2w + 1)).

    The loss of a piece is the mean over its t places of what their targets cost together, so that a learning rate r of
    sgd moves a vector by r / (c t) times the gradient of one place: word2vec's 0.05 is 0.05 c t here.

    Args:
        loss: negative_sampling, hierarchical_softmax or full_softmax.
        metrics: see `WordTask`.
        objective: the same, for whole pieces.

    Raises:
        ValueError: see `WordTask`.
    """

    def __init__(self, loss: Loss, metrics: Sequence[Metric], objective: Any) -> None:
        super().__init__(loss, metrics)
        self.objective = objective

    def bind(self, dataset: Any, device: torch.device) -> None:
        """Learn how often each word occurs, and take the tests of the vocabulary."""
        super().bind(dataset, device)
        self.objective.bind(dataset.counts, device)

    def train_loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """The mean loss of a batch, for any optimizer."""
        words, mask = batch
        hidden, table = model(words, mask)
        loss: Tensor = self.objective.loss(hidden, table, targets_of(model, words, mask)).mean() / mask.shape[1]
        return loss

    @torch.no_grad()
    def advance(self, model: nn.Module, batch: Batch, rate: float) -> Tensor:
        """One step of SGD with gradients written out, on the rows that a batch concerns; the loss before it."""
        words, mask = batch
        inner: Any = inner_model(model)
        hidden, table = inner.hidden(words, mask), inner.output.weight
        targets, share = targets_of(model, words, mask), 1 / mask[..., 0].numel()
        total, by_hidden = self.objective.step(hidden, table, targets, rate * share)
        rows, gradients = by_input(inner, words, mask, by_hidden)
        descend(inner.input.weight, rows, gradients, rate * share)
        loss: Tensor = total * share
        return loss

    def eval_step(self, model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """The loss of each piece (c,), the vectors of all words, and the words of the batch."""
        words, mask = batch
        hidden, table = model(words, mask)
        noise = self.objective.evaluated[None] if isinstance(self.objective, NegativeSampling) else None
        losses = self.objective.loss(hidden, table, targets_of(model, words, mask), noise)
        return losses / mask.shape[1], inner_model(model).vectors(), words


def inner_model(model: nn.Module) -> Any:
    """The model itself, where a compiler or a strategy has wrapped it."""
    for name in ("_orig_mod", "module"):
        model = getattr(model, name, model)
    return model


def reads_context(model: nn.Module) -> bool:
    """Whether the words around a place predict the one at it, as in CBOW, and not the other way round."""
    return bool(inner_model(model).reads_context)


def targets_of(model: nn.Module, words: Tensor, mask: Tensor) -> Targets:
    """What each place predicts: the words around it, or the word at it where there are words around it."""
    window = mask.shape[2] // 2
    if not reads_context(model):
        return Targets(words, mask, window)
    return Targets(words[:, window : window + mask.shape[1]], mask.any(2, keepdim=True), 0)


def by_input(model: Any, words: Tensor, mask: Tensor, by_hidden: Tensor) -> tuple[Tensor, Tensor]:
    """The rows of the first table that a batch read (n,), and the gradients by them (n, d).

    Args:
        model: see `reads_context`.
        words, mask: the batch.
        by_hidden: the gradient by what predicts at each place (c, t, d).
    """
    window = mask.shape[2] // 2
    if not model.reads_context:
        return words[:, window : window + mask.shape[1]].flatten(), by_hidden.flatten(0, 1)
    weights = model.averaging(mask, by_hidden.dtype)  # (c, t, t + 2w)
    return words.flatten(), torch.bmm(weights.mT, by_hidden).flatten(0, 1)


def word_embedding(
    loss: Loss,
    metrics: Sequence[Metric] = (),
    num_negatives: int = 5,
    noise_power: float = 0.75,
    pool: int | None = 64,
) -> WordEmbedding:
    """The task of skip-gram and CBOW.

    Args:
        loss: one of `d2lcli.tasks.word_losses`: negative_sampling, hierarchical_softmax or full_softmax.
        metrics: of the vectors, wordsim353() and simlex999().
        num_negatives, noise_power, pool: of negative sampling, see `NegativeSampling`.

    Raises:
        ValueError: another loss, a number out of range, two metrics of one name, or one of predictions.
    """
    name = getattr(loss, "func", loss).__name__
    if name not in OBJECTIVES:
        raise ValueError(f"loss must be one of {', '.join(OBJECTIVES)}")
    sampling = NegativeSampling(num_negatives, noise_power, pool)
    return WordEmbedding(loss, metrics, sampling if name == "negative_sampling" else OBJECTIVES[name]())

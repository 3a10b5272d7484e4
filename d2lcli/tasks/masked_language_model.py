"""Masked language modelling with next-sentence prediction: how BERT is pre-trained (Devlin et al., 2019; d2l 15.8)."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from d2lcli.errors import DataError
from d2lcli.tasks.metrics import Mean, Metric
from d2lcli.tasks.supervised import Loss, Supervised

IGNORED = -100  # a place that is not predicted


class MaskedLanguageModel(Supervised):
    """L = the mean loss of the masked tokens + w times the mean loss of the next-sentence predictions.

    A batch is what `d2lcli.data.masked.MaskedLoader` makes.  A model maps tokens, segments, lengths and positions to
    logits (b, p, V) of the tokens there, and logits (b, 2) of whether the second sentence is the next one.
    """

    next_sentence: float = 1.0

    def train_loss(self, model: nn.Module, batch: Sequence[Any]) -> Tensor:
        """L of a batch; the sum over the masked tokens is divided by the mean number of them in the whole batch of all
        processes, times the examples here: so the parts add up to L."""
        tokens, segments, lengths, positions, labels, follows, share = batch
        logits, other = model(tokens, segments, lengths, positions)
        # The loss of an ignored place is 0: to pick out the others would make the host wait for the device.
        total = self.training_loss(logits.flatten(0, 1), labels.flatten(), reduction="none").sum()
        loss: Tensor = total / (share * len(tokens))
        return loss + self.next_sentence * self.training_loss(other, follows)

    def eval_step(self, model: nn.Module, batch: Sequence[Any]) -> tuple[Tensor, Any, Any]:
        """For each example the mean loss of its masked tokens, plus w times that of its next-sentence prediction; the
        logits of the masked tokens, and of the sentences; what is right."""
        tokens, segments, lengths, positions, labels, follows, _ = batch
        logits, other = model(tokens, segments, lengths, positions)
        kept = labels != IGNORED
        each = logits.new_zeros(labels.shape)
        each[kept] = self.loss(logits[kept], labels[kept], reduction="none").to(each.dtype)
        losses = each.sum(1) / kept.sum(1) + self.next_sentence * self.loss(other, follows, reduction="none")
        return losses, (logits[kept], other), (labels[kept], follows)

    def update(self, metric: Metric, outputs: Any, targets: Any) -> None:
        """Show a metric of sentences the sentences, another one the tokens."""
        place = 1 if getattr(metric, "sentences", False) else 0
        metric.update(outputs[place], targets[place])

    def check(self, shape: Sequence[int], num_outputs: int, targets: Tensor) -> None:
        """See `Supervised.check`; targets are the tokens of a text."""
        super().check(shape, num_outputs, targets)
        if targets.is_floating_point() or int(targets.max()) >= num_outputs or int(targets.min()) < 0:
            raise DataError(f"masked_language_model needs tokens of a vocabulary of {num_outputs}")


class NextSentenceAccuracy(Mean):
    """A metric of sentences: `update` takes logits (b, 2) and classes (b,)."""

    sentences = True

    def __init__(self) -> None:
        super().__init__("next_sentence_accuracy", _hits, higher_is_better=True, high=1.0)


def _hits(outputs: Tensor, targets: Tensor) -> Tensor:
    return (outputs.argmax(1) == targets).double()


def next_sentence_accuracy() -> Metric:
    """The share of pairs of which the model rightly says whether the second sentence is the next one."""
    return NextSentenceAccuracy()


def masked_language_model(
    loss: Loss, metrics: Sequence[Metric] = (), next_sentence: float = 1.0
) -> MaskedLanguageModel:
    """The task of predicting masked tokens, and whether one sentence follows another.

    Args:
        loss: such as `d2lcli.tasks.losses.cross_entropy`.
        metrics: of the masked tokens, such as `d2lcli.tasks.metrics.perplexity()`, or of the sentences.
        next_sentence: w, what the next-sentence loss counts; 0 leaves it out.

    Raises:
        ValueError: a negative weight, or two metrics of one name.
    """
    if not 0 <= next_sentence < torch.inf:
        raise ValueError(f"next_sentence={next_sentence!r} must be at least 0 and finite")
    task = MaskedLanguageModel(loss, metrics)
    task.next_sentence = next_sentence
    return task

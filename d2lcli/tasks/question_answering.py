"""Question answering: find where in a text the answer begins and ends (Rajpurkar et al., 2016; d2l 16.6).

Legend: b questions with their texts, t tokens, k the most tokens of an answer.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from d2lcli.errors import DataError
from d2lcli.tasks.losses import full_precision
from d2lcli.tasks.metrics import Mean, Metric
from d2lcli.tasks.supervised import Batch, Loss, Supervised, call


class QuestionAnswering(Supervised):
    """L = (the loss of the first token + the loss of the last) / 2, each a choice among the tokens that are no padding.

    Inputs are tokens (b, t), segments (b, t) and lengths (b,), outputs logits (b, t, 2), targets (b, 2): the places of
    the answer's first and last token, both 0, that is <cls>, where the text does not have it.
    """

    max_answer: int = 30

    def train_loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """L of a batch, a mean over its questions."""
        inputs, targets = batch
        first, last = ends(call(model, inputs), inputs[2])
        return (self.training_loss(first, targets[:, 0]) + self.training_loss(last, targets[:, 1])) / 2

    def eval_step(self, model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """L of each question (b,), the best spans (b, 2), and the right ones (b, 2)."""
        inputs, targets = batch
        first, last = ends(call(model, inputs), inputs[2])
        losses = [self.loss(*each, reduction="none") for each in ((first, targets[:, 0]), (last, targets[:, 1]))]
        spans = best_spans(first, last, may_answer(inputs[1], inputs[2]), self.max_answer)
        return (losses[0] + losses[1]) / 2, spans, targets

    def check(self, shape: Sequence[int], num_outputs: int, targets: Tensor) -> None:
        """See `Supervised.check`; targets are two places for each example."""
        super().check(shape, num_outputs, targets)
        if targets.is_floating_point() or targets.ndim != 2 or targets.shape[1] != 2:
            raise DataError("question_answering needs the first and the last token of each answer")
        if int(targets.min()) < 0 or bool((targets[:, 0] > targets[:, 1]).any()):
            raise DataError("an answer ends before it begins")


def ends(logits: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
    """The logits of the first and of the last token (b, t), -inf in the padding, so that no softmax counts it."""
    places = torch.arange(logits.shape[1], device=logits.device)
    logits = logits.masked_fill(places[:, None] >= lengths[:, None, None], -torch.inf)  # (b, t, 2)
    return logits[..., 0], logits[..., 1]


def may_answer(segments: Tensor, lengths: Tensor) -> Tensor:
    """Which tokens (b, t) an answer may have: those of the second text, without the <sep> that ends it, and <cls>."""
    places = torch.arange(segments.shape[1], device=segments.device)
    return ((segments == 1) & (places < lengths[:, None] - 1)) | (places == 0)


def best_spans(first: Tensor, last: Tensor, allowed: Tensor, max_answer: int) -> Tensor:
    """The spans (b, 2) of largest first_i + last_j with i <= j < i + k and allowed ends; <cls> is a span by itself.

    Args:
        first, last: logits (b, t) of the first and the last token.
        allowed: (b, t) which tokens may be in an answer, <cls> at place 0.
        max_answer: k.
    """
    first, last = (full_precision(each).masked_fill(~allowed, -torch.inf) for each in (first, last))
    beyond = last.new_full((len(last), max_answer - 1), -torch.inf)
    scores = first[..., None] + torch.cat([last, beyond], 1).unfold(1, max_answer, 1)  # (b, t, k)
    scores[:, 0, 1:] = -torch.inf
    best = scores.flatten(1).argmax(1)
    begin = best // max_answer
    return torch.stack([begin, begin + best % max_answer], 1)


class SpanMetric(Mean):
    """A metric of spans: `update` takes predicted and right ones, both (b, 2)."""

    spans = True


def exact_match() -> Metric:
    """The share of questions whose answer is found with its first and its last token.

    Places are compared, not words: another place with the same words is wrong, unlike in SQuAD's own script.
    """

    def hits(outputs: Tensor, targets: Tensor) -> Tensor:
        return (outputs == targets).all(1).double()

    return SpanMetric("exact_match", hits, higher_is_better=True, high=1.0)


def token_f1() -> Metric:
    """The mean of 2 p r / (p + r): p is the share of the predicted tokens that are right, r that of the right found.

    Places are compared, see `exact_match`.
    """

    def values(outputs: Tensor, targets: Tensor) -> Tensor:
        common = torch.minimum(outputs[:, 1], targets[:, 1]) - torch.maximum(outputs[:, 0], targets[:, 0]) + 1
        sizes = (outputs[:, 1] - outputs[:, 0] + 1) + (targets[:, 1] - targets[:, 0] + 1)
        return 2 * common.clamp(min=0).double() / sizes

    return SpanMetric("token_f1", values, higher_is_better=True, high=1.0)


def question_answering(loss: Loss, metrics: Sequence[Metric] = (), max_answer: int = 30) -> QuestionAnswering:
    """The task of finding the answer to a question in a text.

    Args:
        loss: such as `d2lcli.tasks.losses.cross_entropy`.
        metrics: of spans: `exact_match()` and `token_f1()`.
        max_answer: k, the most tokens of an answer that is given.

    Raises:
        ValueError: max_answer is below 1, a metric is not one of spans, or two have one name.
    """
    if max_answer < 1:
        raise ValueError(f"max_answer={max_answer!r} must be at least 1")
    for metric in metrics:
        if not getattr(metric, "spans", False):
            raise ValueError(f"metric '{metric.name}' is not one of answers, such as exact_match and token_f1")
    task = QuestionAnswering(loss, metrics)
    task.max_answer = max_answer
    return task

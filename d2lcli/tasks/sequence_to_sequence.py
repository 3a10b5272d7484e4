"""Translation: predict each target token from the source and the target tokens before it (d2l 10.7)."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from d2lcli.errors import DataError
from d2lcli.tasks.metrics import Metric
from d2lcli.tasks.supervised import Loss, Supervised

IGNORED = -100  # targets beyond the end; torch's losses leave them out
BOS, EOS = 2, 3
LONGER = 10  # tokens that a greedy translation may have more than its reference


class SequenceToSequence(Supervised):
    """A batch is source (b, S), its lengths (b,), target input (b, T) from <bos> on, and targets (b, T).

    A model has `begin(source, lengths) -> state` and `step(inputs, state) -> (logits, state)`.
    """

    teacher_forcing: float = 1.0

    def train_loss(self, model: nn.Module, batch: Sequence[Any]) -> Tensor:
        """The mean over the target tokens of a batch, padding left out."""
        source, lengths, inputs, targets = batch
        if self.teacher_forcing < 1:
            logits = self._roll(model, source, lengths, inputs)
        else:
            logits = model(source, lengths, inputs)
        return self.training_loss(logits.flatten(0, 1), targets.flatten())

    def _roll(self, model: nn.Module, source: Tensor, lengths: Tensor, inputs: Tensor) -> Tensor:
        """Logits (b, T, V) where each input but the first is by chance the model's own last choice."""
        inner: Any = getattr(model, "module", getattr(model, "_orig_mod", model))
        state, parts, chosen = inner.begin(source, lengths), [], inputs[:, :1]
        for t in range(inputs.shape[1]):
            own = torch.rand(len(inputs), 1) >= self.teacher_forcing
            fed = inputs[:, t : t + 1] if t == 0 else torch.where(own.to(chosen.device), chosen, inputs[:, t : t + 1])
            logits, state = inner.step(fed, state)
            chosen = logits.detach().argmax(2)
            parts.append(logits)
        return torch.cat(parts, 1)

    def eval_step(self, model: nn.Module, batch: Sequence[Any]) -> tuple[Tensor, Any, Any]:
        """The loss of each target token; logits and greedy translations; target tokens and references."""
        source, lengths, inputs, targets = batch
        logits, kept = model(source, lengths, inputs), targets != IGNORED
        outputs, flat = logits[kept], targets[kept]
        losses = self.loss(outputs, flat, reduction="none")
        if not any(getattr(metric, "texts", False) for metric in self.metrics.values()):
            return losses, (outputs, None), (flat, None)
        predicted = translate(model, source, lengths, targets.shape[1] + LONGER)
        references = targets.masked_fill(~kept | (targets == EOS), -1)
        return losses, (outputs, predicted), (flat, references)

    def update(self, metric: Metric, outputs: Any, targets: Any) -> None:
        """Show a metric of texts the texts, another one the tokens."""
        place = 1 if getattr(metric, "texts", False) else 0
        metric.update(outputs[place], targets[place])

    def check(self, shape: Sequence[int], num_outputs: int, targets: Tensor) -> None:
        """See `Supervised.check`; targets are tokens."""
        super().check((), num_outputs, targets)
        if targets.is_floating_point() or int(targets.max()) >= num_outputs or int(targets.min()) < 0:
            raise DataError(f"targets must be tokens of a vocabulary of {num_outputs}")


@torch.no_grad()
def translate(model: Any, source: Tensor, lengths: Tensor, most: int) -> Tensor:
    """Greedy translations (b, m), -1 from the end token on; <unk> is numbered so that it equals no reference."""
    most = min(most, getattr(model, "max_len", None) or most)
    state = model.begin(source, lengths)
    chosen = source.new_full((len(source), 1), BOS)
    ended, columns = torch.zeros_like(chosen, dtype=torch.bool), []
    for _ in range(most):
        logits, state = model.step(chosen, state)
        chosen = logits.argmax(2)
        ended |= chosen == EOS
        columns.append(chosen.masked_fill(chosen == 0, logits.shape[2]).masked_fill(ended, -1))
        if bool(ended.all()):
            break
    return torch.cat(columns, 1)


def sequence_to_sequence(
    loss: Loss, metrics: Sequence[Metric] = (), teacher_forcing: float = 1.0, label_smoothing: float = 0.0
) -> SequenceToSequence:
    """The task of translating one sequence into another.

    Args:
        loss: such as `d2lcli.tasks.losses.cross_entropy`.
        metrics: such as `d2lcli.tasks.bleu.bleu4()`.
        teacher_forcing: the probability that the model is shown the true token before the one that it predicts, in
            training, instead of the one that it chose itself.
        label_smoothing: in [0, 1]; for training only.

    Raises:
        ValueError: a value out of range, or two metrics of one name.
    """
    for name, value in (("teacher_forcing", teacher_forcing), ("label_smoothing", label_smoothing)):
        if not 0 <= value <= 1:
            raise ValueError(f"{name}={value!r} must be from 0 to 1")
    task = SequenceToSequence(
        loss, metrics, partial(loss, label_smoothing=label_smoothing) if label_smoothing else None
    )
    task.teacher_forcing = teacher_forcing
    return task

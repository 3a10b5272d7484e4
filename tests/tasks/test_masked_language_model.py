"""The joint loss of masked tokens and next sentences against the formula, whole and in parts."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from d2lcli.tasks.losses import cross_entropy
from d2lcli.tasks.masked_language_model import IGNORED, masked_language_model, next_sentence_accuracy
from d2lcli.tasks.metrics import accuracy, perplexity


class Fixed(nn.Module):
    """Gives the logits that it holds, those of the rows that it is asked for by their first token."""

    def __init__(self, logits: Tensor, other: Tensor) -> None:
        super().__init__()
        self.logits, self.other = logits, other

    def forward(self, tokens: Tensor, *rest: Tensor) -> tuple[Tensor, Tensor]:
        return self.logits[tokens[:, 0]], self.other[tokens[:, 0]]


@pytest.fixture
def parts() -> tuple[Fixed, list[Any]]:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(5, 3, 11, dtype=torch.float64, generator=generator)
    other = torch.randn(5, 2, dtype=torch.float64, generator=generator)
    labels = torch.randint(11, (5, 3), generator=generator)
    labels[0, 1:], labels[3, 2] = IGNORED, IGNORED
    follows = torch.tensor([0, 1, 1, 0, 1])
    tokens = torch.arange(5)[:, None].repeat(1, 4)
    share = (labels != IGNORED).sum() / 5
    return Fixed(logits, other), [tokens, tokens, torch.full((5,), 4), labels, labels, follows, share]


def test_the_loss_is_the_sum_of_two_means(parts: tuple[Fixed, list[Any]]) -> None:
    model, batch = parts
    labels, follows = batch[4], batch[5]
    tokens = functional.cross_entropy(model.logits.flatten(0, 1), labels.flatten(), ignore_index=IGNORED)
    sentences = functional.cross_entropy(model.other, follows)
    for weight in (0.0, 1.0, 2.5):
        task = masked_language_model(cross_entropy, (), next_sentence=weight)
        torch.testing.assert_close(task.train_loss(model, batch), tokens + weight * sentences)


def test_padding_places_count_nothing(parts: tuple[Fixed, list[Any]]) -> None:
    model, batch = parts
    task = masked_language_model(cross_entropy)
    before = task.train_loss(model, batch)
    model.logits[batch[4] == IGNORED] = 1e6
    assert torch.equal(task.train_loss(model, batch), before)


def test_parts_add_up(parts: tuple[Fixed, list[Any]]) -> None:
    """Two processes with 3 and 2 of the 5 examples: their losses, weighted by examples, are that of the batch."""
    model, batch = parts
    task = masked_language_model(cross_entropy)
    halves = [[each[low:high] for each in batch[:6]] + [batch[6]] for low, high in ((0, 3), (3, 5))]
    total = sum(task.train_loss(model, half) * len(half[0]) / 5 for half in halves)
    torch.testing.assert_close(total, task.train_loss(model, batch))


def test_an_evaluation_looks_at_tokens_and_at_sentences(parts: tuple[Fixed, list[Any]]) -> None:
    model, batch = parts
    task = masked_language_model(cross_entropy, [perplexity(), accuracy(), next_sentence_accuracy()])
    losses, outputs, targets = task.eval_step(model, batch)
    for row in range(5):
        labels = batch[4][row]
        expected = functional.cross_entropy(model.logits[row], labels, ignore_index=IGNORED)
        expected = expected + functional.cross_entropy(model.other[row], batch[5][row])
        torch.testing.assert_close(losses[row], expected)
    for metric in task.metrics.values():
        task.update(metric, outputs, targets)
    kept = batch[4] != IGNORED
    right = model.logits.argmax(2)[kept] == batch[4][kept]
    assert task.metrics["accuracy"].compute() == pytest.approx(right.double().mean().item())
    assert task.metrics["next_sentence_accuracy"].compute() == pytest.approx(
        (model.other.argmax(1) == batch[5]).double().mean().item()
    )
    mean = functional.cross_entropy(model.logits[kept], batch[4][kept])
    assert task.metrics["perplexity"].compute() == pytest.approx(mean.exp().item())

"""Tagging: only tagged tokens count, in the loss and in the metrics."""

import math

import pytest
import torch
from torch import Tensor, nn

from d2lcli.errors import DataError
from d2lcli.tasks.losses import cross_entropy
from d2lcli.tasks.metrics import accuracy, confusion_matrix
from d2lcli.tasks.tagging import IGNORED, tagging

TOKENS = torch.tensor([[0, 1, 2, 0], [0, 2, 0, 3]])
TARGETS = torch.tensor([[IGNORED, 1, 0, IGNORED], [IGNORED, 1, IGNORED, IGNORED]])


class Table(nn.Module):
    """Logits of each token by itself; it takes what an encoder takes."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([[9.0, -9.0], [0.0, 1.0], [2.0, 0.0], [5.0, 5.0]]))

    def forward(self, tokens: Tensor, segments: Tensor, lengths: Tensor) -> Tensor:
        return self.weight[tokens]


def batch() -> tuple[tuple[Tensor, ...], Tensor]:
    return (TOKENS, torch.zeros_like(TOKENS), torch.tensor([4, 3])), TARGETS


def test_the_loss_is_a_mean_over_tagged_tokens() -> None:
    """Logits (0, 1) of class 1, (2, 0) of class 0, (2, 0) of class 1."""
    losses = [math.log(1 + math.exp(-1)), math.log(1 + math.exp(-2)), math.log(1 + math.exp(2))]
    task = tagging(cross_entropy, [accuracy(), confusion_matrix()])
    assert task.train_loss(Table(), batch()).item() == pytest.approx(sum(losses) / 3)
    found, outputs, targets = task.eval_step(Table(), batch())
    assert found.tolist() == pytest.approx(losses)
    assert outputs.shape == (3, 2) and targets.tolist() == [1, 0, 1]
    for metric in task.metrics.values():
        task.update(metric, outputs.detach(), targets)
    assert task.metrics["accuracy"].compute() == pytest.approx(2 / 3)
    assert task.metrics["confusion_matrix"].compute() == [[1, 0], [1, 1]]
    assert (task.monitor, task.mode) == ("accuracy", "max")


def test_tokens_without_a_tag_have_no_gradient() -> None:
    model = Table()
    tagging(cross_entropy).train_loss(model, batch()).backward()  # type: ignore[no-untyped-call]
    assert model.weight.grad is not None
    assert model.weight.grad[[0, 3]].eq(0).all() and model.weight.grad[[1, 2]].ne(0).all()


def test_labels_are_smoothed_in_training_only() -> None:
    plain, smooth = tagging(cross_entropy), tagging(cross_entropy, label_smoothing=0.2)
    more = 0.1 * (1 + 2 - 2) / 3  # q is (.9, .1): a tenth of the difference of the logits
    assert smooth.train_loss(Table(), batch()).item() == pytest.approx(plain.train_loss(Table(), batch()).item() + more)
    assert torch.equal(smooth.eval_step(Table(), batch())[0], plain.eval_step(Table(), batch())[0])
    with pytest.raises(ValueError, match=r"label_smoothing=1\.5 must be from 0 to 1"):
        tagging(cross_entropy, label_smoothing=1.5)


@pytest.mark.parametrize(
    ("targets", "problem"),
    [
        (torch.tensor([1, 0]), "a tag for each word, not one target for a text"),
        (torch.tensor([0.5, IGNORED]), "a tag for each word"),
        (torch.tensor([IGNORED, IGNORED]), "no token has a tag"),
        (torch.tensor([IGNORED, 2]), "outside the 2 classes"),
        (torch.tensor([IGNORED, -1]), "outside the 2 classes"),
        (torch.tensor([], dtype=torch.int64), "no examples"),
    ],
)
def test_other_targets_are_refused(targets: Tensor, problem: str) -> None:
    tagging(cross_entropy).check((4,), 2, TARGETS.flatten())
    with pytest.raises(DataError, match=problem):
        tagging(cross_entropy).check((4,), 2, targets)

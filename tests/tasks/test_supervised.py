"""Tasks: the loss of a batch, what an evaluation gives, and data that does not fit."""

import math

import pytest
import torch
from torch import nn

from d2lcli.errors import DataError
from d2lcli.tasks.classification import classification
from d2lcli.tasks.losses import cross_entropy, half_mse, mse
from d2lcli.tasks.metrics import accuracy, confusion_matrix, rmse, top_k
from d2lcli.tasks.metrics import mse as mse_metric
from d2lcli.tasks.regression import regression

IDENTITY = nn.Identity()


def test_regression_measures_a_batch() -> None:
    task = regression(half_mse, [rmse(), mse_metric()])
    batch = (torch.tensor([[1.0], [3.0]]), torch.tensor([1.0, 1.0]))
    assert task.train_loss(IDENTITY, batch).item() == 1.0
    losses, outputs, targets = task.eval_step(IDENTITY, batch)
    assert losses.tolist() == [0.0, 2.0] and outputs is batch[0] and targets is batch[1]
    assert (task.monitor, task.mode) == ("rmse", "min")
    assert list(task.metrics) == ["rmse", "mse"]


def test_classification_smooths_in_training_only() -> None:
    plain, smooth = classification(cross_entropy, [accuracy()]), classification(cross_entropy, [], label_smoothing=0.2)
    batch = (torch.tensor([[2.0, 0.0]]), torch.tensor([0]))
    loss = math.log(1 + math.exp(-2))
    assert plain.train_loss(IDENTITY, batch).item() == pytest.approx(loss)
    assert smooth.train_loss(IDENTITY, batch).item() == pytest.approx(loss + 0.1 * 2)  # q is (.9, .1)
    assert smooth.eval_step(IDENTITY, batch)[0].tolist() == pytest.approx([loss])


def test_auxiliary_heads_count_by_their_weight_in_training() -> None:
    """Szegedy et al. (2015): the losses of the heads are added with weight 0.3."""
    labels = torch.tensor([0])
    logits = (torch.tensor([[2.0, 0.0]]), torch.tensor([[0.0, 1.0]]), torch.tensor([[0.0, 0.0]]))
    losses = [math.log(1 + math.exp(-2)), math.log(1 + math.e), math.log(2)]

    class Heads(nn.Module):
        def forward(self, inputs: torch.Tensor) -> torch.Tensor | tuple[torch.Tensor, ...]:
            return logits if self.training else logits[0]

    batch, model = (torch.zeros(1, 4), labels), Heads()
    for weight in (0.3, 0.0, 1.0):
        task = classification(cross_entropy, [accuracy()], auxiliary_weight=weight)
        expected = losses[0] + weight * (losses[1] + losses[2])
        assert task.train_loss(model.train(), batch).item() == pytest.approx(expected)
        assert task.eval_step(model.eval(), batch)[0].tolist() == pytest.approx(losses[:1])
    default = classification(cross_entropy).train_loss(model.train(), batch)
    assert default.item() == pytest.approx(losses[0] + 0.3 * (losses[1] + losses[2]))
    smooth = classification(cross_entropy, label_smoothing=0.2).train_loss(model, batch)
    more = (0.1 * 2, -0.1 * 1, 0.0)  # q is (.9, .1): for each head a tenth of the difference of its logits
    assert smooth.item() == pytest.approx(losses[0] + more[0] + 0.3 * (losses[1] + more[1] + losses[2]))


def test_the_monitor_is_the_first_metric_that_is_one_number() -> None:
    assert (classification(cross_entropy, [confusion_matrix(), top_k(2)]).monitor) == "top_k"
    task = classification(cross_entropy, [accuracy()])
    assert (task.monitor, task.mode) == ("accuracy", "max")
    task = classification(cross_entropy, [confusion_matrix()])
    assert (task.monitor, task.mode) == ("loss", "min")


@pytest.mark.parametrize("label", [3, -1])
def test_a_label_out_of_range_is_named(label: int) -> None:
    task = classification(cross_entropy)
    task.check((1, 28, 28), 3, torch.tensor([0, 1, 2]))
    with pytest.raises(DataError, match=f"label of example 2 is {label}, and there are 3 classes, 0 to 2"):
        task.check((1, 28, 28), 3, torch.tensor([0, 1, label, 7]))


@pytest.mark.parametrize(("value", "shown"), [(math.nan, "nan"), (math.inf, "inf")])
def test_a_target_that_is_not_finite_is_named(value: float, shown: str) -> None:
    task = regression(mse)
    task.check((4,), 2, torch.zeros(3, 2))
    task.check((4,), 1, torch.zeros(3))
    with pytest.raises(DataError, match=f"target of example 1 is {shown}"):
        task.check((4,), 2, torch.tensor([[0.0, 1.0], [2.0, value]]))


def test_data_of_another_kind_is_refused() -> None:
    with pytest.raises(DataError, match=r"integer labels, not torch\.float32"):
        classification(cross_entropy).check((4,), 3, torch.zeros(3))
    with pytest.raises(DataError, match=r"floating-point targets, not torch\.int64"):
        regression(mse).check((4,), 1, torch.zeros(3, dtype=torch.int64))
    with pytest.raises(DataError, match="each example has 2 targets, and the model 1 outputs"):
        regression(mse).check((4,), 1, torch.zeros(3, 2))
    for task in (classification(cross_entropy), regression(mse)):
        with pytest.raises(DataError, match="no examples"):
            task.check((4,), 3, torch.zeros(0))
        with pytest.raises(DataError, match="holds no numbers"):
            task.check((4, 0), 3, torch.zeros(2))


def test_options_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="name 'rmse' is taken"):
        regression(mse, [rmse(), rmse()])
    with pytest.raises(ValueError, match=r"label_smoothing=1\.5 must be"):
        classification(cross_entropy, label_smoothing=1.5)
    for weight in (-0.1, math.nan, math.inf):
        with pytest.raises(ValueError, match=r"auxiliary_weight=.* must be at least 0"):
            classification(cross_entropy, auxiliary_weight=weight)
    with pytest.raises(ValueError, match="needs a loss that knows it"):
        classification(mse, label_smoothing=0.1)
    with pytest.raises(ValueError, match="at least 5 outputs, and there are 3"):
        classification(cross_entropy, [top_k(5)]).check((4,), 3, torch.tensor([0]))

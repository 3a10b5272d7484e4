"""Losses against closed forms and the book's numbers."""

import math
from typing import Any

import pytest
import torch

from d2lcli.tasks.classification import classification
from d2lcli.tasks.losses import (
    Reduction,
    binary_cross_entropy,
    cross_entropy,
    gaussian_nll,
    half_mse,
    huber,
    mse,
)


def test_squared_errors_by_hand() -> None:
    outputs, targets = torch.tensor([1.0, 2.0, 4.0]), torch.tensor([0.0, 2.0, 1.0])
    assert mse(outputs, targets).item() == pytest.approx(10 / 3)
    assert half_mse(outputs, targets).item() == pytest.approx(10 / 6)
    assert mse(outputs, targets, reduction="none").tolist() == [1.0, 0.0, 9.0]
    assert half_mse(outputs, targets, reduction="none").tolist() == [0.5, 0.0, 4.5]


def test_several_outputs_are_averaged_within_an_example() -> None:
    outputs, targets = torch.tensor([[1.0, 3.0], [0.0, 0.0]]), torch.zeros(2, 2)
    assert mse(outputs, targets, reduction="none").tolist() == [5.0, 0.0]
    assert mse(outputs, targets).item() == 2.5


def test_the_gradient_of_half_mse_is_the_error() -> None:
    outputs = torch.tensor([3.0, -1.0], requires_grad=True)
    half_mse(outputs, torch.tensor([1.0, 1.0]), reduction="none").sum().backward()
    assert outputs.grad is not None and outputs.grad.tolist() == [2.0, -2.0]


@pytest.mark.parametrize("shapes", [((4, 1), (4,)), ((4,), (4, 1)), ((4, 1), (4, 1)), ((4,), (4,))])
@pytest.mark.parametrize("loss", [mse, half_mse])
def test_a_column_and_a_row_never_broadcast(loss, shapes) -> None:  # type: ignore[no-untyped-def]
    values = torch.arange(4.0)
    outputs, targets = values.reshape(shapes[0]), values.reshape(shapes[1])
    assert loss(outputs, targets).item() == 0.0
    assert loss(outputs, targets, reduction="none").shape == (4,)


def test_shapes_that_do_not_belong_together_are_refused() -> None:
    for outputs, targets in [((4, 2), (4,)), ((4, 1), (1,)), ((4,), ()), ((2, 3), (3, 2))]:
        with pytest.raises(ValueError, match="do not belong together"):
            mse(torch.zeros(outputs), torch.zeros(targets))


def test_cross_entropy_by_hand() -> None:
    logits = torch.log(torch.tensor([[0.1, 0.3, 0.6], [0.3, 0.2, 0.5]]))  # the book's table, d2l 4.4
    labels = torch.tensor([0, 2])
    assert cross_entropy(logits, labels, reduction="none").tolist() == pytest.approx([2.3025851, 0.6931472])
    assert cross_entropy(torch.zeros(3, 10), torch.tensor([0, 5, 9])).item() == pytest.approx(math.log(10))


def test_cross_entropy_does_not_overflow() -> None:
    logits = torch.tensor([[1000.0, 0.0, -1000.0, 1.0]], requires_grad=True)
    losses = [cross_entropy(logits, torch.tensor([label])).item() for label in range(4)]
    assert losses == pytest.approx([0.0, 1000.0, 2000.0, 999.0])
    cross_entropy(logits, torch.tensor([1])).backward()
    assert logits.grad is not None and logits.grad.tolist() == [[1.0, -1.0, 0.0, 0.0]]


def test_the_gradient_of_cross_entropy_is_softmax_minus_one_hot() -> None:
    logits = torch.tensor([[0.2, -1.0, 0.7]], dtype=torch.float64, requires_grad=True)
    cross_entropy(logits, torch.tensor([2])).backward()
    exps = [math.exp(value) for value in (0.2, -1.0, 0.7)]
    expected = [value / sum(exps) for value in exps]
    expected[2] -= 1
    assert logits.grad is not None and logits.grad[0].tolist() == pytest.approx(expected)


def test_label_smoothing_mixes_with_the_uniform_distribution() -> None:
    probabilities = [0.7, 0.2, 0.1]
    logits = torch.tensor([probabilities], dtype=torch.float64).log()
    uniform = -sum(math.log(p) for p in probabilities) / 3
    expected = 0.9 * -math.log(0.7) + 0.1 * uniform
    assert cross_entropy(logits, torch.tensor([0]), label_smoothing=0.1).item() == pytest.approx(expected)
    assert cross_entropy(logits, torch.tensor([0]), label_smoothing=1.0).item() == pytest.approx(uniform)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("reduction", ["mean", "none"])
def test_the_loss_of_a_mixture_of_labels_is_the_mixture_of_the_losses(reduction: Reduction, smoothing: float) -> None:
    """Equation (2) of Zhang et al. (2018): the cross-entropy is linear in the targets."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(6, 5, generator=generator, dtype=torch.float64)
    first, second = torch.randint(5, (2, 6), generator=generator).unbind()
    lam = 0.3
    soft = lam * torch.eye(5, dtype=torch.float64)[first] + (1 - lam) * torch.eye(5, dtype=torch.float64)[second]
    options: dict[str, Any] = {"reduction": reduction, "label_smoothing": smoothing}
    expected = lam * cross_entropy(logits, first, **options) + (1 - lam) * cross_entropy(logits, second, **options)
    torch.testing.assert_close(cross_entropy(logits, soft, **options), expected, rtol=1e-12, atol=1e-12)
    half = cross_entropy(logits.bfloat16(), soft.float(), **options)
    assert half.dtype == torch.float32
    torch.testing.assert_close(half.double(), expected, rtol=0.02, atol=0.02)


def test_several_labels_an_example_give_one_value_an_example() -> None:
    logits = torch.zeros(2, 4, 5)
    values = cross_entropy(logits, torch.zeros(2, 5, dtype=torch.int64), reduction="none")
    assert values.tolist() == pytest.approx([math.log(4)] * 2)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_outputs_are_computed_with_in_float32(dtype: torch.dtype) -> None:
    outputs = torch.tensor([[300.0], [0.0]], dtype=dtype, requires_grad=True)
    loss = mse(outputs, torch.zeros(2, 1))
    assert loss.dtype == torch.float32 and loss.item() == 45_000.0
    loss.backward()
    assert outputs.grad is not None and outputs.grad.dtype == dtype
    assert cross_entropy(torch.zeros(1, 3, dtype=dtype), torch.tensor([0])).dtype == torch.float32


def test_gaussian_likelihood_is_torchs_distribution() -> None:
    generator = torch.Generator().manual_seed(0)
    outputs, targets = (torch.randn(9, generator=generator, dtype=torch.float64) for _ in range(2))
    expected = -torch.distributions.Normal(outputs, math.sqrt(0.3)).log_prob(targets)
    torch.testing.assert_close(gaussian_nll(outputs, targets, reduction="none", variance=0.3), expected)
    with pytest.raises(ValueError, match="variance"):
        gaussian_nll(outputs, targets, variance=0.0)


def test_huber_by_hand() -> None:
    outputs, targets = torch.tensor([0.5, -3.0, 2.0]), torch.zeros(3)
    expected = [0.125, 2 * (3 - 1), 2.0]  # at delta = 2 both forms meet: 2^2 / 2 = 2 (2 - 1)
    assert huber(outputs, targets, reduction="none", delta=2.0).tolist() == pytest.approx(expected)
    with pytest.raises(ValueError, match="delta"):
        huber(outputs, targets, delta=-1.0)


def test_binary_cross_entropy_by_hand() -> None:
    logits = torch.tensor([[0.0, math.log(3)], [1000.0, -1000.0]])
    labels = torch.tensor([[0.0, 1.0], [1.0, 1.0]])
    values = binary_cross_entropy(logits, labels, reduction="none").tolist()
    assert values == pytest.approx([(math.log(2) + math.log(4 / 3)) / 2, 500.0])
    one_hot = binary_cross_entropy(logits, torch.tensor([1, 0]))
    assert one_hot.item() == pytest.approx((values[0] + 0.0) / 2)
    column = binary_cross_entropy(torch.tensor([[2.0], [-1.0]]), torch.tensor([1, 0]))
    assert column.item() == pytest.approx((math.log1p(math.exp(-2)) + math.log1p(math.exp(-1))) / 2)
    smoothed = binary_cross_entropy(torch.tensor([0.3]), torch.tensor([1.0]), label_smoothing=0.2)
    direct = binary_cross_entropy(torch.tensor([0.3]), torch.tensor([0.9]))
    assert smoothed.item() == pytest.approx(direct.item())


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_class_weights_are_torchs_but_for_the_mean(smoothing: float) -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(8, 3, generator=generator, dtype=torch.float64)
    labels = torch.randint(3, (8,), generator=generator)
    weights = torch.tensor([0.5, 1.0, 2.0], dtype=torch.float64)
    ours = cross_entropy(logits, labels, label_smoothing=smoothing, class_weights=weights)
    theirs = torch.nn.functional.cross_entropy(logits, labels, weights, reduction="sum", label_smoothing=smoothing)
    torch.testing.assert_close(ours, theirs / 8)


def test_balanced_weights_let_classes_count_the_same() -> None:
    """scikit-learn's rule n / (C n_c): 6 of class 0, 2 of class 1 give 2/3 and 2."""
    task = classification(cross_entropy, class_weights="balanced")
    labels = torch.tensor([0] * 6 + [1] * 2)
    task.prepare(labels, 2, torch.device("cpu"))
    values = task.training_loss(torch.zeros(8, 2), labels, reduction="none")
    assert values.tolist() == pytest.approx([math.log(2) * 2 / 3] * 6 + [math.log(2) * 2] * 2)
    assert task.loss(torch.zeros(8, 2), labels).item() == pytest.approx(math.log(2))
    with pytest.raises(ValueError, match="class 2 has no training example"):
        classification(cross_entropy, class_weights="balanced").prepare(labels, 3, torch.device("cpu"))
    with pytest.raises(ValueError, match="2 numbers for 3 classes"):
        classification(cross_entropy, class_weights=[1.0, 2.0]).prepare(labels, 3, torch.device("cpu"))
    with pytest.raises(ValueError, match=r"-1\.0 must be at least 0"):
        classification(cross_entropy, class_weights=[-1.0, 2.0])
    with pytest.raises(ValueError, match="a loss that knows it"):
        classification(mse, class_weights="balanced")

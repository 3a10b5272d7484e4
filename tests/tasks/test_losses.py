"""Losses against closed forms and the book's numbers."""

import math
from typing import Any

import pytest
import torch

from d2lcli.tasks.losses import Reduction, cross_entropy, half_mse, mse


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

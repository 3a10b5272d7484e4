"""Metrics against scikit-learn, closed forms and published values."""

import math

import pytest
import torch
from sklearn import metrics as sklearn

from d2lcli.tasks.metrics import Metric, accuracy, confusion_matrix, log_rmse, mse, rmse, top_k


def logits_and_labels(n: int = 200, classes: int = 7) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(classes, (n,), generator=generator)
    logits = torch.randn(n, classes, generator=generator)
    logits[torch.arange(n), labels] += 1.0
    return logits, labels


def numbers(n: int = 100) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    targets = 5 + 100 * torch.rand(n, generator=generator, dtype=torch.float64)
    return targets + torch.randn(n, generator=generator, dtype=torch.float64), targets


def measured(metric: Metric, outputs: torch.Tensor, targets: torch.Tensor, batch: int = 33) -> Metric:
    metric.reset("cpu")
    for start in range(0, len(targets), batch):
        metric.update(outputs[start : start + batch], targets[start : start + batch])
    return metric


def test_the_books_accuracy() -> None:
    outputs = torch.tensor([[0.1, 0.3, 0.6], [0.3, 0.2, 0.5]])
    assert measured(accuracy(), outputs, torch.tensor([0, 2])).compute() == 0.5


def test_classification_equals_sklearn() -> None:
    logits, labels = logits_and_labels()
    guesses = logits.argmax(1)
    assert measured(accuracy(), logits, labels).compute() == pytest.approx(sklearn.accuracy_score(labels, guesses))
    for k in (1, 3, 6):
        expected = sklearn.top_k_accuracy_score(labels, logits, k=k)
        assert measured(top_k(k), logits, labels).compute() == pytest.approx(expected)
    table = sklearn.confusion_matrix(labels, guesses).tolist()
    assert measured(confusion_matrix(), logits, labels).compute() == table
    assert measured(confusion_matrix(num_classes=7), logits, labels).compute() == table


def test_regression_equals_sklearn() -> None:
    outputs, targets = numbers()
    assert measured(mse(), outputs, targets).compute() == pytest.approx(sklearn.mean_squared_error(targets, outputs))
    assert measured(rmse(), outputs, targets).compute() == pytest.approx(
        sklearn.root_mean_squared_error(targets, outputs)
    )
    expected = sklearn.root_mean_squared_error(targets.log(), outputs.clamp(min=1).log())
    assert measured(log_rmse(), outputs, targets).compute() == pytest.approx(expected)


def test_log_rmse_takes_predictions_below_one_as_one() -> None:
    metric = measured(log_rmse(), torch.tensor([[-3.0], [0.5]]), torch.tensor([[math.e], [math.e]]))
    assert metric.compute() == pytest.approx(1.0, rel=1e-6)


def test_a_column_and_a_row_are_the_same_numbers() -> None:
    outputs, targets = numbers()
    assert measured(mse(), outputs[:, None], targets).compute() == measured(mse(), outputs, targets[:, None]).compute()


def test_the_interval_of_a_share_is_the_normal_approximation() -> None:
    outputs = torch.tensor([[1.0, 0.0]]).repeat(100, 1)
    labels = torch.tensor([0] * 80 + [1] * 20)
    metric = measured(accuracy(), outputs, labels)
    half = 1.959964 * math.sqrt(0.8 * 0.2 / 99)
    assert metric.interval() == pytest.approx((0.8 - half, 0.8 + half), rel=1e-6)
    assert metric.interval(0.6826895) == pytest.approx((0.8 - half / 1.959964, 0.8 + half / 1.959964), rel=1e-6)


def test_the_interval_of_rmse_goes_through_the_root() -> None:
    outputs, targets = numbers()
    squares, roots = measured(mse(), outputs, targets).interval(), measured(rmse(), outputs, targets).interval()
    assert squares is not None and roots == pytest.approx((math.sqrt(squares[0]), math.sqrt(squares[1])))
    values = (outputs - targets).square()
    half = 1.959964 * values.std().item() / math.sqrt(len(values))
    assert squares[1] - squares[0] == pytest.approx(2 * half, rel=1e-6)


def test_an_interval_stays_in_the_range_of_its_metric() -> None:
    labels = torch.tensor([0, 0, 0, 1])
    low, high = measured(accuracy(), torch.tensor([[1.0, 0.0]]).repeat(4, 1), labels).interval() or (0, 0)
    assert 0 < low < 0.75 and high == 1.0
    wild = measured(rmse(), torch.tensor([0.0, 0.0, 9.0]), torch.zeros(3)).interval()
    assert wild is not None and wild[0] == 0.0


def test_one_example_has_no_interval_and_none_has_no_value() -> None:
    metric = measured(accuracy(), torch.zeros(1, 2), torch.zeros(1, dtype=torch.int64))
    assert metric.compute() == 1.0 and metric.interval() is None
    metric.reset("cpu")
    with pytest.raises(ValueError, match="no examples"):
        metric.compute()
    with pytest.raises(ValueError, match=r"confidence=1\.5"):
        metric.interval(1.5)


def test_predictions_that_are_not_finite_are_not_hidden() -> None:
    metric = measured(rmse(), torch.tensor([math.nan, 0.0]), torch.zeros(2))
    assert math.isnan(metric.compute()) and metric.interval() is None  # type: ignore[arg-type]


def test_metrics_refuse_what_does_not_fit() -> None:
    with pytest.raises(ValueError, match="k=0 must be"):
        top_k(0)
    with pytest.raises(ValueError, match="at least 5 outputs, and there are 3"):
        top_k(5).bind(3)
    with pytest.raises(ValueError, match="k=5 must not exceed the 3 classes"):
        top_k(5).update(torch.zeros(1, 3), torch.zeros(1, dtype=torch.int64))
    with pytest.raises(ValueError, match="num_classes=0"):
        confusion_matrix(0)
    with pytest.raises(ValueError, match="num_classes=3 of the confusion matrix must be the 4"):
        confusion_matrix(3).bind(4)


def test_a_matrix_sized_in_an_evaluation_can_be_summed_afterwards() -> None:
    metric = confusion_matrix()
    with torch.inference_mode():
        metric.update(torch.eye(2), torch.tensor([0, 1]))
    metric.state += metric.state.clone()
    assert metric.compute() == [[2, 0], [0, 2]]
    bound = confusion_matrix()
    bound.bind(2)
    assert bound.state.shape == (2, 2)

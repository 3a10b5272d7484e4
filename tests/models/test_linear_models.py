"""Linear and softmax regression against plain matrix algebra."""

import pytest
import torch
from torch import nn
from torch.nn.parameter import UninitializedParameter

from d2lcli.models.linear import linear_regression, softmax_regression


def count(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def test_linear_regression_is_x_w_plus_b() -> None:
    model = linear_regression(in_features=3, num_outputs=2).double()
    weight, bias = model.parameters()
    x = torch.randn(5, 3, dtype=torch.float64)
    torch.testing.assert_close(model(x), torch.einsum("nd,qd->nq", x, weight) + bias)


@pytest.mark.parametrize("d", [1, 2, 200])
def test_linear_regression_has_d_plus_1_parameters(d: int) -> None:
    assert count(linear_regression(in_features=d)) == d + 1


def test_softmax_regression_of_the_book() -> None:
    model = softmax_regression()
    assert count(model) == 7_850
    logits = model(torch.rand(4, 1, 28, 28))  # images are flattened inside
    probabilities = logits.softmax(1)
    assert logits.shape == (4, 10)
    torch.testing.assert_close(probabilities.sum(1), torch.ones(4))
    assert torch.equal(probabilities.argmax(1), logits.argmax(1))


def test_an_open_input_is_filled_by_the_first_batch() -> None:
    model = softmax_regression(in_features=None, num_classes=3)
    assert any(isinstance(parameter, UninitializedParameter) for parameter in model.parameters())
    model(torch.rand(2, 1, 4, 5))
    assert [tuple(parameter.shape) for parameter in model.parameters()] == [(3, 20), (3,)]


def test_bad_sizes() -> None:
    with pytest.raises(ValueError, match="num_classes must be at least 1, but it is 0"):
        softmax_regression(num_classes=0)
    with pytest.raises(ValueError, match="in_features must be at least 1, but it is -4"):
        linear_regression(in_features=-4)

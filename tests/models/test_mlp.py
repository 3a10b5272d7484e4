"""The multilayer perceptron: published counts, plain algebra, dropout's statistics, the formulas of backpropagation."""

import pytest
import torch
from torch import nn

from d2lcli.models.mlp import mlp


def count(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize(("hidden", "parameters"), [((256,), 203_530), ((256, 256), 269_322), ((), 7_850)])
def test_parameters(hidden: tuple[int, ...], parameters: int) -> None:
    assert count(mlp(hidden=hidden)) == parameters


@pytest.mark.parametrize("depth", range(6))
def test_any_depth_equals_the_product_of_its_layers(depth: int) -> None:
    model = mlp(in_features=3, num_outputs=2, hidden=[4 + i for i in range(depth)], activation="tanh").double()
    x = torch.randn(5, 3, dtype=torch.float64)
    *hidden, last_weight, last_bias = model.parameters()
    h = x
    for weight, bias in zip(hidden[::2], hidden[1::2], strict=True):
        h = torch.tanh(h @ weight.T + bias)
    torch.testing.assert_close(model(x), h @ last_weight.T + last_bias)


def test_linear_layers_collapse_to_one() -> None:
    """Without an activation between them the outputs have the rank of one affine map."""
    torch.manual_seed(0)
    x = torch.randn(50, 10, dtype=torch.float64)
    ranks = []
    for name in ("identity", "relu"):
        model = mlp(in_features=10, num_outputs=20, hidden=[30, 30], activation=name).double()  # type: ignore[arg-type]
        ranks.append(int(torch.linalg.matrix_rank(model(x) - model(torch.zeros_like(x)))))
    assert ranks == [10, 20]


def test_gradients_are_those_of_the_book() -> None:
    """J = L + lambda/2 (|W1|^2 + |W2|^2), d2l 5.3: dW2 = do h' + lambda W2, dW1 = (W2' do phi'(z)) x' + lambda W1."""
    torch.manual_seed(0)
    model = mlp(in_features=4, num_outputs=3, hidden=[5], activation="sigmoid").double()
    w1, b1, w2, b2 = model.parameters()
    x, y, lam = torch.randn(1, 4, dtype=torch.float64), torch.randn(1, 3, dtype=torch.float64), 0.3
    objective = (model(x) - y).square().sum() / 2 + lam / 2 * (w1.square().sum() + w2.square().sum())
    objective.backward()
    with torch.no_grad():
        h = 1 / (1 + torch.exp(-(x @ w1.T + b1)))
        do = h @ w2.T + b2 - y
        dz = (do @ w2) * h * (1 - h)
        expected = [dz.T @ x + lam * w1, dz[0], do.T @ h + lam * w2, do[0]]
    for parameter, gradient in zip((w1, b1, w2, b2), expected, strict=True):
        torch.testing.assert_close(parameter.grad, gradient, rtol=1e-9, atol=1e-12)


def dropouts(model: nn.Module) -> list[float]:
    return [module.p for module in model.modules() if isinstance(module, nn.Dropout)]


def test_dropout_one_for_all_or_one_for_each() -> None:
    assert dropouts(mlp(hidden=[8, 8], dropout=0.5)) == [0.5, 0.5]
    assert dropouts(mlp(hidden=[8, 8], dropout=[0.5, 0.2])) == [0.5, 0.2]
    assert dropouts(mlp(hidden=[8, 8], dropout=[0.0, 0.2])) == [0.2]
    assert dropouts(mlp(hidden=[8, 8])) == []


def test_dropout_keeps_the_mean() -> None:
    """h' = 0 with probability p, else h / (1 - p): mean h, variance h^2 p / (1 - p) and no change in evaluation."""
    torch.manual_seed(0)
    model = mlp(in_features=1, num_outputs=1, hidden=[1], activation="identity", dropout=0.3).double()
    for parameter in model.parameters():
        nn.init.ones_(parameter)
    x = torch.ones(200_000, 1, dtype=torch.float64)  # h = 2, output h' + 1
    sample = model(x)
    assert sample.mean().item() == pytest.approx(3, abs=0.02)
    assert sample.var().item() == pytest.approx(4 * 0.3 / 0.7, rel=0.02)
    assert sample.unique().tolist() == pytest.approx([1, 2 / 0.7 + 1])
    assert model.eval()(x).unique().tolist() == [3.0]


def test_dropout_of_all_leaves_the_last_bias() -> None:
    model = mlp(in_features=4, num_outputs=2, hidden=[8], dropout=1.0)
    *_, bias = model.parameters()
    assert torch.equal(model(torch.rand(3, 4)), bias.expand(3, 2))


def test_an_open_input_is_filled_by_the_first_batch() -> None:
    model = mlp(in_features=None, num_outputs=2, hidden=[3])
    assert model(torch.rand(5, 1, 2, 2)).shape == (5, 2)
    assert count(model) == 4 * 3 + 3 + 3 * 2 + 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hidden": [4, 0]}, r"hidden\[1\] must be at least 1, but it is 0"),
        ({"num_outputs": 0}, "num_outputs must be at least 1"),
        ({"dropout": 1.5}, "between 0 and 1, but a value is 1.5"),
        ({"hidden": [4, 4], "dropout": [0.1, 0.2, 0.3]}, "one for each of 2 hidden layers, but it has 3"),
        ({"activation": "swish"}, "but it is 'swish'"),
    ],
)
def test_bad_options(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        mlp(**options)  # type: ignore[arg-type]


def test_wide_layers_approximate_any_function() -> None:
    """The error of a least-squares last layer on random hidden units falls with the width (d2l 5.1)."""
    x = torch.linspace(-1, 1, 400, dtype=torch.float64)[:, None]
    errors = []
    for width in (3, 30, 300):
        torch.manual_seed(0)
        hidden = mlp(in_features=1, num_outputs=1, hidden=[width], activation="tanh").double()[:-1]
        with torch.no_grad():
            hidden[1].weight.mul_(6)
            features = torch.cat([hidden(x), torch.ones_like(x)], 1)
            fit = features @ torch.linalg.lstsq(features, torch.sin(3 * x), driver="gelsd").solution
        errors.append((fit - torch.sin(3 * x)).abs().max().item())
    assert errors[0] > 10 * errors[1] > 100 * errors[2]

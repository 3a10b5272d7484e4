"""torch's batch norm and layer norm, in training and evaluation, against the formulas of d2l 8.5 in NumPy.

n examples, c features or channels, h x w the size of a map.
"""

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import nn

Array = npt.NDArray[np.float64]
EPS = 1e-5


class BatchNorm:
    """gamma (x - mean) / sqrt(var + eps) + beta for each feature, over the batch and, in maps, over all pixels.

    In training mean and variance are the batch's, and the running ones move: (1 - m) old + m new.  In evaluation the
    running ones are used.  The new variance is the unbiased one, as in torch; the book takes the biased one.
    """

    def __init__(self, features: int, momentum: float = 0.1, unbiased: bool = True) -> None:
        self.gamma, self.beta = np.ones(features), np.zeros(features)
        self.mean, self.var = np.zeros(features), np.ones(features)
        self.momentum, self.unbiased = momentum, unbiased

    def __call__(self, x: Array, training: bool) -> Array:
        y = np.zeros_like(x)
        for feature in range(x.shape[1]):
            values = x[:, feature]
            mean, var = self.mean[feature], self.var[feature]
            if training:
                mean, var = values.sum() / values.size, ((values - values.mean()) ** 2).sum() / values.size
                new = var * values.size / (values.size - 1) if self.unbiased else var
                self.mean[feature] += self.momentum * (mean - self.mean[feature])
                self.var[feature] += self.momentum * (new - self.var[feature])
            y[:, feature] = self.gamma[feature] * (values - mean) / np.sqrt(var + EPS) + self.beta[feature]
        return y


def layer_norm(x: Array) -> Array:
    """(x - mean) / sqrt(var + eps) for each row, with the biased variance."""
    return np.array([(row - row.mean()) / np.sqrt(((row - row.mean()) ** 2).mean() + EPS) for row in x])


@pytest.mark.parametrize("momentum", [0.1, 0.3])
@pytest.mark.parametrize("shape", [(6, 4), (2, 4), (5, 4, 3, 2), (1, 4, 2, 2)])
def test_batch_norm(shape: tuple[int, ...], momentum: float) -> None:
    """In step: four training batches, whose running values are compared each time, an evaluation, another batch."""
    rng = np.random.default_rng(0)
    layer = (nn.BatchNorm1d if len(shape) == 2 else nn.BatchNorm2d)(4, momentum=momentum, dtype=torch.float64)
    twin = BatchNorm(4, momentum)
    twin.gamma, twin.beta = rng.normal(size=4), rng.normal(size=4)
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(twin.gamma))
        layer.bias.copy_(torch.from_numpy(twin.beta))
    assert sum(parameter.numel() for parameter in layer.parameters()) == 2 * 4
    for training in (True, True, True, True, False, True):
        x = rng.normal(2, 3, size=shape)
        made = layer.train(training)(torch.from_numpy(x)).detach().numpy()
        np.testing.assert_allclose(made, twin(x, training), rtol=1e-10, atol=1e-12)
        assert layer.running_mean is not None and layer.running_var is not None
        np.testing.assert_allclose(layer.running_mean.numpy(), twin.mean, rtol=1e-12)
        np.testing.assert_allclose(layer.running_var.numpy(), twin.var, rtol=1e-12)


def test_a_normed_batch_has_mean_beta_and_deviation_gamma() -> None:
    layer = nn.BatchNorm2d(3, dtype=torch.float64)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([1.0, 2.0, -3.0]))
        layer.bias.copy_(torch.tensor([0.0, 5.0, -1.0]))
    y = layer(torch.randn(8, 3, 4, 4, dtype=torch.float64) * 7 + 2).detach()
    torch.testing.assert_close(y.mean((0, 2, 3)), layer.bias.detach())
    torch.testing.assert_close(y.std((0, 2, 3), correction=0), layer.weight.detach().abs(), rtol=1e-5, atol=0)


def test_the_book_s_running_variance_is_the_biased_one() -> None:
    """After one batch of n values torch holds .9 + .1 var n / (n - 1); the book holds .9 + .1 var."""
    x = np.random.default_rng(0).normal(size=(4, 1)) * 3
    var = x.var()
    book, ours = BatchNorm(1, unbiased=False), nn.BatchNorm1d(1, dtype=torch.float64)
    book(x, training=True)
    ours(torch.from_numpy(x))
    assert ours.running_var is not None
    assert book.var[0] == pytest.approx(0.9 + 0.1 * var)
    assert ours.running_var.item() == pytest.approx(0.9 + 0.1 * var * 4 / 3)


def test_gradient_of_batch_norm() -> None:
    """dx = gamma / sigma (dy - mean(dy) - x_hat mean(dy x_hat)): the statistics depend on x, too (Ioffe, Szegedy)."""
    rng = np.random.default_rng(0)
    x, dy = torch.from_numpy(rng.normal(size=(7, 3))).requires_grad_(), rng.normal(size=(7, 3))
    layer = nn.BatchNorm1d(3, dtype=torch.float64)
    layer(x).backward(torch.from_numpy(dy))
    values = x.detach().numpy()
    sigma = np.sqrt(values.var(0) + EPS)
    x_hat = (values - values.mean(0)) / sigma
    assert x.grad is not None and layer.weight.grad is not None and layer.bias.grad is not None
    np.testing.assert_allclose(x.grad.numpy(), (dy - dy.mean(0) - x_hat * (dy * x_hat).mean(0)) / sigma, atol=1e-12)
    np.testing.assert_allclose(layer.weight.grad.numpy(), (dy * x_hat).sum(0))
    np.testing.assert_allclose(layer.bias.grad.numpy(), dy.sum(0))


def test_layer_norm() -> None:
    layer = nn.LayerNorm(6, dtype=torch.float64)
    x = torch.randn(4, 6, dtype=torch.float64) * 3 + 1
    made = layer(x).detach()
    np.testing.assert_allclose(made.numpy(), layer_norm(x.numpy()), rtol=1e-10, atol=1e-12)
    assert torch.equal(layer.eval()(x), made)  # training makes no difference
    assert torch.equal(layer(x[2:3]), made[2:3])  # nor does the rest of the batch
    assert list(layer.state_dict()) == ["weight", "bias"]  # and nothing is kept


def test_layer_norm_and_batch_norm_of_the_book() -> None:
    """d2l 8.5.2.3: of [[1, 2], [2, 3]] layer norm makes rows of -1 and 1, batch norm columns of -1 and 1."""
    x = torch.tensor([[1.0, 2.0], [2.0, 3.0]])
    torch.testing.assert_close(nn.LayerNorm(2)(x).detach(), torch.tensor([[-1.0, 1.0]] * 2), rtol=1e-4, atol=0)
    torch.testing.assert_close(nn.BatchNorm1d(2)(x).detach(), torch.tensor([[-1.0] * 2, [1.0] * 2]), rtol=1e-4, atol=0)


@pytest.mark.parametrize("factor", [0.5, 2.0, 100.0])
def test_layer_norm_forgets_the_scale_but_not_the_sign(factor: float) -> None:
    """LN(a x) = sign(a) LN(x), but for eps."""
    x = torch.randn(4, 32, dtype=torch.float64)
    layer = nn.LayerNorm(32, eps=1e-12, dtype=torch.float64)
    torch.testing.assert_close(layer(factor * x), layer(x))
    torch.testing.assert_close(layer(-factor * x), -layer(x))

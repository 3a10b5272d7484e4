"""The task of a Gaussian process: what it trains on, and how it judges predictions."""

import math
from functools import partial

import pytest
import torch
from scipy.stats import norm
from torch import Tensor

from d2lcli.errors import ConfigError, DataError
from d2lcli.models.gp import GaussianProcess, gp
from d2lcli.tasks.losses import gaussian_nll, mse
from d2lcli.tasks.marginal_likelihood import MarginalLikelihood, marginal_likelihood
from d2lcli.tasks.metrics import rmse


def told(outputs: int = 1) -> tuple[MarginalLikelihood, GaussianProcess, tuple[Tensor, Tensor]]:
    x = torch.linspace(0, 3, 12)[:, None]
    y = torch.sin(x + torch.arange(outputs))
    model = gp(num_outputs=outputs, standardize=False)
    model.remember(x, y)
    return marginal_likelihood(gaussian_nll, [rmse()]), model, (x, y)


@pytest.mark.parametrize("outputs", [1, 2])
def test_it_trains_on_the_likelihood_of_all_points_whatever_the_batch(outputs: int) -> None:
    task, model, (x, y) = told(outputs)
    loss = task.train_loss(model, (x, y))
    assert loss.item() == pytest.approx(-model.log_marginal_likelihood().item() / (12 * outputs))
    assert torch.equal(task.train_loss(model, (x[:3], y[:3])), loss)
    loss.backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    noted = task.noted
    assert noted["data_fit"] + noted["complexity"] + noted["constant"] == pytest.approx(-12 * outputs * loss.item())
    assert noted["noise"] == pytest.approx(math.log(2)) and noted["jitter"] == 0.0


def test_it_judges_by_the_density_of_the_observations() -> None:
    task, model, _ = told()
    x, y = torch.tensor([[0.5], [2.0], [9.0]]), torch.tensor([[0.4], [1.5], [0.0]])
    losses, outputs, targets = task.eval_step(model, (x, y))
    mean, variance = model.predict(x)
    deviation = (variance + math.log(2)).sqrt()
    expected = -norm.logpdf(y.numpy(), mean.numpy(), deviation.numpy())[:, 0]
    assert losses.tolist() == pytest.approx(expected.tolist(), rel=1e-6)
    assert torch.equal(outputs, mean) and targets is y
    assert (task.monitor, task.mode) == ("loss", "min")


def test_what_it_cannot_do_is_refused() -> None:
    task, model, batch = told()
    with pytest.raises(ConfigError, match="weighs the examples"):
        task.train_loss(model, (*batch, torch.ones(12)))
    with pytest.raises(ValueError, match="gaussian_nll"):
        marginal_likelihood(mse)
    assert marginal_likelihood(partial(gaussian_nll, variance=2.0)).monitor == "loss"
    with pytest.raises(DataError, match="floating-point"):
        task.check((1,), 1, torch.tensor([1, 2]))
    with pytest.raises(DataError, match="no examples"):
        task.check((1,), 1, torch.zeros(0, 1))


def test_each_prediction_can_have_a_variance_of_its_own() -> None:
    means, targets = torch.tensor([[0.0, 1.0], [2.0, 0.0]]), torch.tensor([[0.5, 1.0], [0.0, 0.0]])
    variances = torch.tensor([[0.25, 1.0], [4.0, 9.0]])
    found = gaussian_nll(means, targets, reduction="none", variances=variances)
    expected = -norm.logpdf(targets.numpy(), means.numpy(), variances.sqrt().numpy()).mean(1)
    assert found.tolist() == pytest.approx(expected.tolist(), rel=1e-5)
    assert gaussian_nll(means, targets, variances=variances).item() == pytest.approx(expected.mean(), rel=1e-5)

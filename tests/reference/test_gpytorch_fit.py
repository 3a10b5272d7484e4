"""Fifty steps of Adam on the marginal likelihood, in step with gpytorch (d2l 18.3).  Needs the extra `slow`."""

from typing import Any

import pytest
import torch

from d2lcli.data.synthetic import noisy_sine
from d2lcli.models.gp import gp

REASON = "gpytorch is not installed: pip install -c constraints.txt -e '.[slow]'"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_the_losses_and_the_posterior_are_gpytorchs() -> None:
    gpytorch = pytest.importorskip("gpytorch", reason=REASON)

    class Exact(gpytorch.models.ExactGP):  # type: ignore[misc, name-defined]
        def __init__(self, x: torch.Tensor, y: torch.Tensor, likelihood: Any) -> None:
            super().__init__(x, y, likelihood)
            self.mean_module = gpytorch.means.ConstantMean()
            self.covar_module = gpytorch.kernels.ScaleKernel(gpytorch.kernels.RBFKernel())

        def forward(self, x: torch.Tensor) -> Any:
            return gpytorch.distributions.MultivariateNormal(self.mean_module(x), self.covar_module(x))

    split = noisy_sine().train
    x, y = split.inputs.double(), split.targets.double()  # type: ignore[union-attr]
    positive = gpytorch.constraints.GreaterThan(0.0)
    theirs = Exact(x, y[:, 0], gpytorch.likelihoods.GaussianLikelihood(noise_constraint=positive)).double()
    marginal = gpytorch.mlls.ExactMarginalLogLikelihood(theirs.likelihood, theirs)
    ours = gp(mean="constant")
    ours.remember(x, y)
    optimizers = [torch.optim.Adam(model.parameters(), lr=0.1) for model in (theirs, ours)]
    theirs.train()
    for _ in range(50):
        expected = -marginal(theirs(x), y[:, 0])
        loss = -ours.log_marginal_likelihood() / len(y)
        torch.testing.assert_close(loss, expected, rtol=1e-8, atol=1e-8)
        for optimizer, value in zip(optimizers, (expected, loss)):
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
    theirs.eval()
    queries = torch.linspace(-1, 6, 50, dtype=torch.float64)[:, None]
    with torch.no_grad():
        reference = theirs(queries)
        mean, variance = ours.predict(queries)
    torch.testing.assert_close(mean[:, 0], reference.mean, rtol=1e-6, atol=1e-8)
    torch.testing.assert_close(variance[:, 0], reference.variance, rtol=1e-6, atol=1e-8)

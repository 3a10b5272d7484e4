"""Gaussian processes: the negative log marginal likelihood of the whole training set (d2l 18.3)."""

import inspect
from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from d2lcli.errors import ConfigError
from d2lcli.tasks.metrics import Metric
from d2lcli.tasks.regression import Regression
from d2lcli.tasks.supervised import Batch, Loss


class MarginalLikelihood(Regression):
    """Trains on -log p(y | X) / n of what the model remembers, whatever the batch; judges predictions by their density.

    The model has `log_marginal_likelihood()`, `predict(inputs) -> mean, variance` and `posterior()`, whose noise is
    added to the variance.

    Attributes:
        noted: terms and parameters at the last training loss, for the log.
    """

    def __init__(self, loss: Loss, metrics: Sequence[Metric]) -> None:
        super().__init__(loss, metrics)
        if "variances" not in inspect.signature(loss).parameters:
            raise ValueError(
                "loss must be one of a distribution, gaussian_nll: predictions are judged by their density"
            )
        self.noted: dict[str, float] = {}

    @property
    def monitor(self) -> str:
        """The density decides which checkpoint is best: an error of the mean says nothing of the error bars."""
        return "loss"

    def train_loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """-log p(y | X) over the number of targets, a scalar."""
        if len(batch) > 2:
            raise ConfigError("data.deployed weighs the examples, and a marginal likelihood has no place for weights")
        inner: Any = getattr(model, "_orig_mod", model)  # where it is compiled
        likelihood: Tensor = inner.log_marginal_likelihood()
        self._note(inner, likelihood.item())
        loss: Tensor = -likelihood / inner.targets.numel()
        return loss

    def _note(self, model: Any, likelihood: float) -> None:
        found = model.evidence
        rest = likelihood - found.data_fit - found.complexity  # the constant, in the unit of the targets
        self.noted = {"log_marginal_likelihood": likelihood, "data_fit": found.data_fit}
        self.noted |= {"complexity": found.complexity, "constant": rest, "jitter": found.jitter}
        for name, values in model.parameter_values().items():
            numbered = (
                {name: values[0]} if len(values) == 1 else {f"{name}_{i}": value for i, value in enumerate(values)}
            )
            self.noted |= numbered

    def eval_step(self, model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """The negative log predictive density of each example (n,), the means (n, q), and the targets."""
        inputs, targets = batch[:2]
        mean, variance = model.predict(inputs)  # type: ignore[operator]
        noise = model.posterior().noise  # type: ignore[operator]
        return self.loss(mean, targets.double(), reduction="none", variances=variance + noise), mean, targets


def marginal_likelihood(loss: Loss, metrics: Sequence[Metric] = ()) -> MarginalLikelihood:
    """The task of fitting the parameters of a Gaussian process.

    Args:
        loss: of a prediction and its variance, `d2lcli.tasks.losses.gaussian_nll`; its mean over the validation
            examples is the negative log predictive density.
        metrics: of the predicted mean, such as `d2lcli.tasks.metrics.rmse()`.

    Raises:
        ValueError: another loss, or two metrics of one name.
    """
    return MarginalLikelihood(loss, metrics)

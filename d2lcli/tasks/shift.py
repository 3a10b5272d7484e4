"""When training and use do not come from one distribution (d2l 4.7): estimates and corrections, on tensors."""

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

STEPS = 50  # of Newton's method; a handful is usual


def covariate_weights(source: Tensor, target: Tensor, *, l2: float = 1e-3, largest: float = 20.0) -> Tensor:
    """Importance weights q(x) / p(x) of the source's examples, by a classifier that tells the two domains apart.

    Logistic regression gives h(x) = log P(target | x) / P(source | x); then q/p = exp(h) n / m.

    Args:
        source: inputs that are trained on, (n, ...).
        target: inputs of the domain that counts, (m, ...); no labels are needed.
        l2: strength of the penalty on the classifier's weights, on standardised features.
        largest: where weights are cut off, since a few large ones would make the estimate noisy.

    Returns:
        Weights (n,), scaled to a mean of 1.

    Raises:
        ValueError: shapes that do not belong together, or a bad option.
    """
    if source.shape[1:] != target.shape[1:] or not len(source) or not len(target):
        raise ValueError(f"inputs of shape {tuple(source.shape)} and {tuple(target.shape)} are not of one kind")
    if not 0 < largest < math.inf or not 0 <= l2 < math.inf:
        raise ValueError(f"largest={largest!r} must be above 0 and l2={l2!r} at least 0")
    both = torch.cat([source, target]).flatten(1).double()
    std = both.std(0, correction=0)
    both = (both - both.mean(0)) / torch.where(std > 0, std, torch.ones_like(std))
    features = torch.cat([both, both.new_ones(len(both), 1)], 1)
    labels = torch.cat([torch.zeros(len(source)), torch.ones(len(target))]).to(features)
    h = features[: len(source)] @ _logistic_regression(features, labels, l2)
    weights = (h.exp() * len(source) / len(target)).clamp(max=largest)
    return (weights / weights.mean()).float()


def _logistic_regression(x: Tensor, y: Tensor, l2: float) -> Tensor:
    """Coefficients (d,) by Newton's method with step halving; the last feature, the constant, is not penalised."""
    penalty = torch.full((x.shape[1],), l2, dtype=x.dtype, device=x.device)
    penalty[-1] = 1e-9

    def objective(w: Tensor) -> Tensor:
        scores = x @ w
        return torch.nn.functional.softplus(scores).mean() - (y * scores).mean() + (penalty * w * w).sum() / 2

    w = torch.zeros_like(penalty)
    for _ in range(STEPS):
        p = torch.sigmoid(x @ w)
        gradient = x.T @ (p - y) / len(x) + penalty * w
        hessian = (x * (p * (1 - p))[:, None]).T @ x / len(x) + torch.diag(penalty + 1e-12)
        step, size = torch.linalg.solve(hessian, gradient), 1.0
        while objective(w - size * step) > objective(w) and size > 1e-6:
            size /= 2
        w = w - size * step
        if size * step.abs().max() < 1e-10:
            break
    return w


def label_shift(confusion: Tensor, predicted: Tensor) -> tuple[Tensor, Tensor]:
    """The label distribution of a target domain from predictions alone, and the importance weight of each class.

    With C_ij = P(predicted i | true j), measured on validation data of the source, and mu_i the share of predictions i
    in the target domain, C p = mu gives p; a singular C is solved by least squares, and negative shares are cut.

    Args:
        confusion: counts (k, k) by true class (row) and predicted class (column), as the metric confusion_matrix.
        predicted: counts (k,) of predictions in the target domain.

    Returns:
        p (k,), and the weights p_target / p_source (k,).

    Raises:
        ValueError: shapes that do not belong together, or a class without a validation example.
    """
    counts, mu = confusion.double(), predicted.double()
    k = len(mu)
    if counts.shape != (k, k) or k < 2 or not mu.sum() > 0:
        raise ValueError(
            f"a confusion matrix {tuple(counts.shape)} and {k} counts of predictions do not belong together"
        )
    true = counts.sum(1)
    if not bool((true > 0).all()):
        missing = int((true == 0).nonzero()[0])
        raise ValueError(f"class {missing} has no validation example, so how it is predicted is unknown")
    conditional = (counts / true[:, None]).T
    shares = torch.linalg.pinv(conditional, rtol=1e-9) @ (mu / mu.sum())
    shares = shares.clamp(min=0)
    shares = shares / shares.sum()
    return shares, shares / (true / true.sum())


@dataclass
class PageHinkley:
    """An alarm for a stream whose mean has risen (Page, 1954), such as losses or errors of a model in use.

    With m_t the running mean, s_t = s_{t-1} + (x_t - m_t - slack) and its smallest value so far, the alarm sounds when
    s_t exceeds that by more than `threshold`.

    Args:
        threshold: in units of the stream: larger means fewer false alarms and a later true one.
        slack: a rise that is no cause for alarm.
        least: values to see before an alarm may sound.
    """

    threshold: float = 10.0
    slack: float = 0.05
    least: int = 30
    count: int = field(default=0, init=False)
    mean: float = field(default=0.0, init=False)
    total: float = field(default=0.0, init=False)
    lowest: float = field(default=0.0, init=False)

    def update(self, value: float) -> bool:
        """Take the next value; whether the alarm sounds, in which case the detector starts anew."""
        self.count += 1
        self.mean += (value - self.mean) / self.count
        self.total += value - self.mean - self.slack
        self.lowest = min(self.lowest, self.total)
        if self.count >= self.least and self.total - self.lowest > self.threshold:
            self.count, self.mean, self.total, self.lowest = 0, 0.0, 0.0, 0.0
            return True
        return False

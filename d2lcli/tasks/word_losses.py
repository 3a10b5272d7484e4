"""Losses of word embeddings, as the book writes them: plain functions of scores, for reference and for reading.

`d2lcli.tasks.word_objectives` computes the same for whole pieces of text at a time.
"""

import torch
from torch import Tensor
from torch.nn import functional

from d2lcli.tasks.losses import Reduction, align, full_precision, per_example


def negative_sampling(outputs: Tensor, targets: Tensor, *, reduction: Reduction = "mean") -> Tensor:
    """-log s(u_o . v_c) - sum over the negatives of log s(-u_k . v_c), with s the logistic function (d2l 15.2.1).

    Args:
        outputs: scores (n, 1 + K) of one word that belongs here and K that do not.
        targets: (n,) which of them belongs.
        reduction: "mean" gives a scalar, "none" gives (n,).
    """
    outputs = full_precision(outputs)
    belongs = functional.one_hot(targets, outputs.shape[1]).bool()
    losses = functional.softplus(torch.where(belongs, -outputs, outputs)).sum(1)
    return losses.mean() if reduction == "mean" else losses


def full_softmax(outputs: Tensor, targets: Tensor, *, reduction: Reduction = "mean") -> Tensor:
    """-log of the softmax over all words at the right one (d2l 15.1).

    Args:
        outputs: scores (n, V).
        targets: (n,).
        reduction: "mean" gives a scalar, "none" gives (n,).
    """
    return functional.cross_entropy(full_precision(outputs), targets, reduction=reduction)


def hierarchical_softmax(outputs: Tensor, targets: Tensor, *, reduction: Reduction = "mean") -> Tensor:
    """-log of the product over a word's path of s(u . v_c) where it goes left, s(-u . v_c) where right (d2l 15.2.2).

    Args:
        outputs: scores of the L inner nodes on the path (n, L).
        targets: (n, L), 1 where the path goes left, -1 where it goes right, 0 beyond its end.
        reduction: "mean" gives a scalar, "none" gives (n,).
    """
    losses = (functional.softplus(-outputs * targets) * targets.abs()).sum(1)
    return losses.mean() if reduction == "mean" else losses


def weighted_least_squares(
    outputs: Tensor, targets: Tensor, *, reduction: Reduction = "mean", x_max: float = 100.0, alpha: float = 0.75
) -> Tensor:
    """h(x) (output - log x)^2, with h(x) = (x / x_max)^alpha up to x_max and 1 beyond (d2l 15.5).

    Args:
        outputs: predicted logarithms of counts, (n,).
        targets: log x of the counts, the same shape.
        reduction: "mean" gives a scalar, "none" gives (n,).
        x_max: c in the book, above 0; what occurs more often weighs no more.
        alpha: how weights rise up to there.

    Raises:
        ValueError: x_max is not above 0, or shapes that do not belong together.
    """
    if not x_max > 0:
        raise ValueError(f"x_max={x_max!r} must be above 0")
    outputs = full_precision(outputs)
    targets = align(outputs, targets)
    weights = (alpha * (targets - torch.tensor(x_max, dtype=targets.dtype).log().item())).clamp(max=0).exp()
    losses = per_example(weights * (outputs - targets).square())
    return losses.mean() if reduction == "mean" else losses

"""Losses: plain functions of outputs and targets.

A mean over examples, or with reduction="none" one value for each example (n,).  Outputs of half precision are computed
with in float32.
"""

import math
from typing import Literal, TypeAlias

import torch
from torch import Tensor
from torch.nn import functional

Reduction: TypeAlias = Literal["mean", "none"]

_HALF = (torch.float16, torch.bfloat16)


def full_precision(outputs: Tensor) -> Tensor:
    """`outputs`, in float32 if they are of half precision."""
    return outputs.float() if outputs.dtype in _HALF else outputs


def align(outputs: Tensor, targets: Tensor) -> Tensor:
    """`targets` in the shape of `outputs`: (n,) and (n, 1) are the same numbers; nothing is ever broadcast.

    Raises:
        ValueError: the shapes hold different numbers.
    """
    if outputs.shape == targets.shape:
        return targets
    if outputs.shape[:1] == targets.shape[:1] and outputs.numel() == targets.numel():
        return targets.reshape(outputs.shape)
    raise ValueError(
        f"outputs of shape {tuple(outputs.shape)} and targets of shape {tuple(targets.shape)} do not belong together"
    )


def per_example(values: Tensor) -> Tensor:
    """The mean of each example's values: (n, ...) to (n,)."""
    return values.flatten(1).mean(1) if values.ndim > 1 else values


def mse(outputs: Tensor, targets: Tensor, *, reduction: Reduction = "mean") -> Tensor:
    """(outputs - targets)^2, averaged over everything, or over each example's numbers.

    Args:
        outputs: (n,) or (n, ...).
        targets: the same shape; (n,) and (n, 1) are taken as one.
        reduction: "mean" gives a scalar, "none" gives (n,).

    Raises:
        ValueError: shapes that do not belong together.
    """
    outputs = full_precision(outputs)
    targets = align(outputs, targets)
    if reduction == "mean":
        return functional.mse_loss(outputs, targets)
    return per_example(functional.mse_loss(outputs, targets, reduction="none"))


def half_mse(outputs: Tensor, targets: Tensor, *, reduction: Reduction = "mean") -> Tensor:
    """(outputs - targets)^2 / 2, the book's squared loss (d2l 3.1), whose gradient is the error itself.

    Args and errors are those of `mse`.
    """
    return 0.5 * mse(outputs, targets, reduction=reduction)


def gaussian_nll(
    outputs: Tensor,
    targets: Tensor,
    *,
    reduction: Reduction = "mean",
    variance: float = 1.0,
    variances: Tensor | None = None,
) -> Tensor:
    """log(2 pi variance) / 2 + (outputs - targets)^2 / (2 variance), the negative log-likelihood (d2l 3.1).

    For one variance it is least where `mse` is.

    Args:
        outputs: means of the Gaussians, (n,) or (n, ...).
        targets: as for `mse`.
        reduction: as for `mse`.
        variance: of all Gaussians, above 0.
        variances: of each Gaussian, in the shape of the outputs, in the place of `variance`.

    Raises:
        ValueError: the variance is not above 0, or shapes that do not belong together.
    """
    if not 0 < variance < math.inf:
        raise ValueError(f"variance={variance!r} must be above 0 and finite")
    if variances is not None:
        errors = outputs - align(outputs, targets)
        values = 0.5 * (torch.log(2 * math.pi * variances) + errors.square() / variances)
        return values.mean() if reduction == "mean" else per_example(values)
    return 0.5 * (math.log(2 * math.pi * variance) + mse(outputs, targets, reduction=reduction) / variance)


def huber(outputs: Tensor, targets: Tensor, *, reduction: Reduction = "mean", delta: float = 1.0) -> Tensor:
    """e^2 / 2 for errors |e| <= delta, delta (|e| - delta / 2) beyond, so that outliers pull less (Huber, 1964).

    Args:
        outputs, targets, reduction: as for `mse`.
        delta: above 0.

    Raises:
        ValueError: delta is not above 0, or shapes that do not belong together.
    """
    if not 0 < delta < math.inf:
        raise ValueError(f"delta={delta!r} must be above 0 and finite")
    outputs = full_precision(outputs)
    values = functional.huber_loss(outputs, align(outputs, targets), reduction=reduction, delta=delta)
    return values if reduction == "mean" else per_example(values)


def binary_cross_entropy(
    outputs: Tensor, targets: Tensor, *, reduction: Reduction = "mean", label_smoothing: float = 0.0
) -> Tensor:
    """-t log sigmoid(o) - (1 - t) log(1 - sigmoid(o)), averaged over the outputs: each is a question of its own.

    Computed from the logits, so that large ones do not overflow.

    Args:
        outputs: logits (n,) or (n, ...).
        targets: probabilities t, such as 0 and 1, in that shape; or labels in [0, C), integers (n,) for outputs (n, C),
            which stand for the one class that is true.
        reduction: "mean" gives a scalar, "none" gives (n,).
        label_smoothing: s in [0, 1]: t becomes (1 - s) t + s / 2.

    Raises:
        ValueError: shapes that do not belong together.
    """
    outputs = full_precision(outputs)
    if not targets.is_floating_point() and outputs.ndim == targets.ndim + 1 and outputs.shape[-1] > 1:
        targets = functional.one_hot(targets, outputs.shape[-1])
    targets = align(outputs, targets).to(outputs.dtype)
    if label_smoothing:
        targets = (1 - label_smoothing) * targets + label_smoothing / 2
    values = functional.binary_cross_entropy_with_logits(outputs, targets, reduction=reduction)
    return values if reduction == "mean" else per_example(values)


def cross_entropy(
    outputs: Tensor,
    targets: Tensor,
    *,
    reduction: Reduction = "mean",
    label_smoothing: float = 0.0,
    class_weights: Tensor | None = None,
) -> Tensor:
    """-sum_j w_j q_j log softmax(outputs)_j, with q_j = (1 - s) t_j + s / C, and t_j = [j = target] for a label.

    Computed as log-sum-exp of the logits, so that large ones do not overflow (d2l 4.5).

    Args:
        outputs: logits (n, C), or (n, C, ...) for several labels an example.
        targets: labels in [0, C), integers, (n,) or (n, ...); or probabilities t in the shape of the outputs.
        reduction: "mean" gives a scalar, "none" gives (n,).
        label_smoothing: s in [0, 1], the weight of the uniform distribution (Szegedy et al., 2016).
        class_weights: w, (C,), 1 if not given.  The mean is over examples, not over their weights, as torch has it: so
            the parts of a batch add up.
    """
    outputs = full_precision(outputs)
    if class_weights is not None:
        values = functional.cross_entropy(
            outputs, targets, class_weights.to(outputs.dtype), reduction="none", label_smoothing=label_smoothing
        )
        return values.mean() if reduction == "mean" else per_example(values)
    if reduction == "mean":
        return functional.cross_entropy(outputs, targets, label_smoothing=label_smoothing)
    return per_example(functional.cross_entropy(outputs, targets, reduction="none", label_smoothing=label_smoothing))

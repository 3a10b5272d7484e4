"""Losses: plain functions of outputs and targets.

A mean over examples, or with reduction="none" one value for each example (n,).  Outputs of half precision are computed
with in float32.
"""

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


def cross_entropy(
    outputs: Tensor, targets: Tensor, *, reduction: Reduction = "mean", label_smoothing: float = 0.0
) -> Tensor:
    """-sum_j q_j log softmax(outputs)_j, with q_j = (1 - s) t_j + s / C, and t_j = [j = target] for a label.

    Computed as log-sum-exp of the logits, so that large ones do not overflow (d2l 4.5).

    Args:
        outputs: logits (n, C), or (n, C, ...) for several labels an example.
        targets: labels in [0, C), integers, (n,) or (n, ...); or probabilities t in the shape of the outputs.
        reduction: "mean" gives a scalar, "none" gives (n,).
        label_smoothing: s in [0, 1], the weight of the uniform distribution (Szegedy et al., 2016).
    """
    outputs = full_precision(outputs)
    if reduction == "mean":
        return functional.cross_entropy(outputs, targets, label_smoothing=label_smoothing)
    return per_example(functional.cross_entropy(outputs, targets, reduction="none", label_smoothing=label_smoothing))

"""Penalties on the size of the weights, and the constraint that takes their place (d2l 3.7 and 12.2).

A penalty lambda ||w|| in the objective and the constraint ||w|| <= r have the same solutions for matching lambda and r.
"""

from collections.abc import Callable, Sequence
from typing import cast

import torch
from torch import Tensor


def add_penalties(params: Sequence[Tensor], l1: float, l2: float) -> None:
    """Add the gradient of l1 sum |w| + l2/2 sum w^2, that is l1 sign(w) + l2 w, to the gradients, in place.

    Args:
        params: weights; those without a gradient are left out, and sparse gradients are refused.
        l1, l2: strengths, at least 0.

    Raises:
        ValueError: a gradient is sparse: a penalty changes every element.
    """
    used = [param for param in params if param.grad is not None]
    grads = [cast(Tensor, param.grad) for param in used]
    if any(grad.is_sparse for grad in grads):
        raise ValueError("l1 and l2 need dense gradients: a penalty changes every weight")
    with torch.no_grad():
        if l2 and used:
            torch._foreach_add_(grads, used, alpha=l2)
        if l1 and used:
            torch._foreach_add_(grads, torch._foreach_sign(used), alpha=l1)


def project_ball(
    params: Sequence[Tensor],
    radius: float,
    norm_of: Callable[[Sequence[Tensor], Sequence[Tensor]], Tensor] | None = None,
) -> None:
    """Replace w, all weights as one vector, by the nearest point with ||w||_2 <= radius: w min(1, radius / ||w||).

    Nothing waits for the device.

    Args:
        params: weights, changed in place.
        radius: above 0.
        norm_of: params, their values -> the norm, for params that are parts of larger tensors.
    """
    with torch.no_grad():
        if norm_of is None:
            norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(list(params))))
        else:
            norm = norm_of(params, params)
        scale = torch.clamp(radius / norm, max=1.0)
        torch._foreach_mul_(list(params), scale)

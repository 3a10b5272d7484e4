"""Adadelta (Zeiler, 2012; d2l 12.9)."""

from collections.abc import Iterable
from typing import Any, Literal

import torch
from torch import Tensor

from d2lcli.optim.base import CachedOptimizer
from d2lcli.optim.checks import require_fraction, require_non_negative
from d2lcli.optim.packs import Group, Pack


class Adadelta(CachedOptimizer):
    """Steps measured by the size of earlier steps, so that the method asks for no learning rate.

    With g the gradient plus weight_decay w:

        s <- rho s + (1 - rho) g^2      step = sqrt(d + eps) / sqrt(s + eps) g
        w <- w - lr step                d <- rho d + (1 - rho) step^2

    State: "square_avg" (s), "acc_delta" (d).  The numerics are torch's, which has no fused kernel for it.
    """

    def state_names(self, group: Group) -> tuple[str, ...]:
        return ("square_avg", "acc_delta")

    def has_kernel(self, group: Group) -> bool:
        return False

    def check_group(self, group: Group) -> None:
        require_non_negative(group, "lr", "eps", "weight_decay")
        require_fraction("rho", group["rho"])

    def step_foreach(self, pack: Pack, grads: list[Tensor]) -> None:
        group, squares, deltas = pack.group, pack.state["square_avg"], pack.state["acc_delta"]
        if group["weight_decay"]:
            grads = list(torch._foreach_add(grads, pack.params, alpha=group["weight_decay"]))
        torch._foreach_mul_(squares, group["rho"])
        torch._foreach_addcmul_(squares, grads, grads, 1 - group["rho"])
        steps = torch._foreach_add(deltas, group["eps"])
        torch._foreach_div_(steps, torch._foreach_add(squares, group["eps"]))
        torch._foreach_sqrt_(steps)
        torch._foreach_mul_(steps, grads)
        torch._foreach_mul_(deltas, group["rho"])
        torch._foreach_addcmul_(deltas, steps, steps, 1 - group["rho"])
        torch._foreach_add_(pack.params, steps, alpha=-group["lr"])

    def step_plain(self, pack: Pack, grads: list[Tensor]) -> None:
        group = pack.group
        states = zip(pack.state["square_avg"], pack.state["acc_delta"], strict=True)
        for w, g, (s, d) in zip(pack.params, grads, states, strict=True):
            g = g + group["weight_decay"] * w
            s.mul_(group["rho"]).add_((1 - group["rho"]) * g * g)
            step = (d + group["eps"]).sqrt() / (s + group["eps"]).sqrt() * g
            d.mul_(group["rho"]).add_((1 - group["rho"]) * step * step)
            w.sub_(group["lr"] * step)


def adadelta(
    params: Iterable[Any],
    lr: float = 1.0,
    rho: float = 0.9,
    eps: float = 1e-6,
    weight_decay: float = 0.0,
    implementation: Literal["auto", "foreach", "plain"] = "auto",
) -> Adadelta:
    """Adadelta.

    Args:
        params: tensors or param groups.
        lr: factor of the step; 1 is the method as published.
        rho: weight of the past in both running means, in [0, 1); their memory is 1 / (1 - rho) updates.
        eps: within both roots; it also decides how large the first steps are.
        weight_decay: strength of the L2 penalty, part of the gradient; at least 0.
        implementation: see `d2lcli.optim.base.CachedOptimizer`.

    Raises:
        ValueError: a value out of range.
    """
    return Adadelta(params, {"lr": lr, "rho": rho, "eps": eps, "weight_decay": weight_decay}, implementation)

"""RMSProp (Tieleman and Hinton, 2012; d2l 12.8)."""

from collections.abc import Iterable
from typing import Any, Literal

import torch
from torch import Tensor

from d2lcli.optim.base import CachedOptimizer
from d2lcli.optim.checks import require, require_fraction, require_non_negative
from d2lcli.optim.packs import Group, Pack
from d2lcli.optim.roots import EPS_MODES, divide_foreach, divide_plain


class RMSProp(CachedOptimizer):
    """s <- gamma s + (1 - gamma) g^2, w <- w - lr g / sqrt(s + eps), with g the gradient plus weight_decay w.

    With eps_mode="outside", as in torch, the step is lr g / (sqrt(s) + eps).
    State: "square_avg" (s).  Torch has no fused kernel for it.
    """

    def state_names(self, group: Group) -> tuple[str, ...]:
        return ("square_avg",)

    def has_kernel(self, group: Group) -> bool:
        return False

    def check_group(self, group: Group) -> None:
        require_non_negative(group, "lr", "eps", "weight_decay")
        require_fraction("gamma", group["gamma"])
        require("eps_mode", group["eps_mode"], group["eps_mode"] in EPS_MODES, "inside or outside")

    def step_foreach(self, pack: Pack, grads: list[Tensor]) -> None:
        group, squares = pack.group, pack.state["square_avg"]
        if group["weight_decay"]:
            grads = list(torch._foreach_add(grads, pack.params, alpha=group["weight_decay"]))
        torch._foreach_mul_(squares, group["gamma"])
        torch._foreach_addcmul_(squares, grads, grads, 1 - group["gamma"])
        divide_foreach(pack, grads, squares)

    def step_plain(self, pack: Pack, grads: list[Tensor]) -> None:
        group = pack.group
        for w, g, s in zip(pack.params, grads, pack.state["square_avg"], strict=True):
            g = g + group["weight_decay"] * w
            s.mul_(group["gamma"]).add_((1 - group["gamma"]) * g * g)
            w.sub_(group["lr"] * divide_plain(group, g, s))


def rmsprop(
    params: Iterable[Any],
    lr: float = 0.001,
    gamma: float = 0.9,
    eps: float = 1e-6,
    weight_decay: float = 0.0,
    eps_mode: Literal["inside", "outside"] = "inside",
    implementation: Literal["auto", "foreach", "plain"] = "auto",
) -> RMSProp:
    """RMSProp: AdaGrad with a running mean in place of the sum, so that the rates do not fade.

    Args:
        params: tensors or param groups.
        lr: learning rate, at least 0.
        gamma: weight of the past in the running mean of g^2, in [0, 1).
        eps: keeps the quotient finite, at least 0.
        weight_decay: strength of the L2 penalty, part of the gradient; at least 0.
        eps_mode: eps inside the root, as in the book, or outside, as in torch.
        implementation: see `d2lcli.optim.base.CachedOptimizer`.

    Raises:
        ValueError: a value out of range.
    """
    defaults = {"lr": lr, "gamma": gamma, "eps": eps, "weight_decay": weight_decay, "eps_mode": eps_mode}
    return RMSProp(params, defaults, implementation)

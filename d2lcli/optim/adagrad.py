"""AdaGrad (Duchi et al., 2011; d2l 12.7)."""

from collections.abc import Iterable
from typing import Any, Literal

import torch
from torch import Tensor

from d2lcli.optim.base import CachedOptimizer
from d2lcli.optim.checks import require, require_non_negative
from d2lcli.optim.packs import Group, Implementation, Pack
from d2lcli.optim.roots import EPS_MODES, EpsMode, divide_foreach, divide_plain


class Adagrad(CachedOptimizer):
    """s <- s + g^2, w <- w - lr g / sqrt(s + eps), with g the gradient of the loss plus weight_decay w.

    With eps_mode="outside", as in torch, the step is lr g / (sqrt(s) + eps).
    State: "sum" (s), "step" (updates so far, which torch's kernel asks for).
    """

    counts_steps = True

    def state_names(self, group: Group) -> tuple[str, ...]:
        return ("sum",)

    def start(self, name: str, group: Group) -> float:
        return float(group["initial"])

    def has_kernel(self, group: Group) -> bool:
        return bool(group["eps_mode"] == "outside")

    def check_group(self, group: Group) -> None:
        require_non_negative(group, "lr", "eps", "weight_decay", "initial")
        require("eps_mode", group["eps_mode"], group["eps_mode"] in EPS_MODES, "inside or outside")

    def step_fused(self, pack: Pack, grads: list[Tensor]) -> None:
        group = pack.group
        torch._fused_adagrad_(
            pack.params,
            grads,
            pack.state["sum"],
            pack.steps,
            lr=group["lr"],
            lr_decay=0.0,
            weight_decay=group["weight_decay"],
            eps=group["eps"],
            maximize=False,
        )

    def step_foreach(self, pack: Pack, grads: list[Tensor]) -> None:
        group = pack.group
        if group["weight_decay"]:
            grads = list(torch._foreach_add(grads, pack.params, alpha=group["weight_decay"]))
        torch._foreach_addcmul_(pack.state["sum"], grads, grads, 1.0)
        divide_foreach(pack, grads, pack.state["sum"])

    def step_plain(self, pack: Pack, grads: list[Tensor]) -> None:
        for w, g, s in zip(pack.params, grads, pack.state["sum"], strict=True):
            g = g + pack.group["weight_decay"] * w
            s.add_(g * g)
            w.sub_(pack.group["lr"] * divide_plain(pack.group, g, s))

    def step_sparse(self, pack: Pack, grads: list[Tensor]) -> None:
        """Only the rows that have a gradient change."""
        if pack.group["weight_decay"]:
            raise ValueError("adagrad cannot combine sparse gradients with weight_decay: decay changes every element")
        for w, g, s in zip(pack.params, grads, pack.state["sum"], strict=True):
            if g.sparse_dim() != 1:
                raise ValueError(f"adagrad takes gradients that are sparse in their rows, not in {g.sparse_dim()} axes")
            rows, values = g.indices()[0], g.values()
            s.index_add_(0, rows, values * values)
            w.index_add_(0, rows, divide_plain(pack.group, values, s[rows]), alpha=-pack.group["lr"])


def adagrad(
    params: Iterable[Any],
    lr: float = 0.01,
    eps: float = 1e-6,
    initial: float = 0.0,
    weight_decay: float = 0.0,
    eps_mode: Literal["inside", "outside"] = "inside",
    implementation: Implementation = "auto",
) -> Adagrad:
    """AdaGrad: each weight's rate falls with the sum of its squared gradients; good for rare features.

    Args:
        params: tensors or param groups.
        lr: learning rate, at least 0.
        eps: keeps the quotient finite, at least 0.
        initial: what the sum of squares starts from, at least 0.
        weight_decay: strength of the L2 penalty, part of the gradient; at least 0.
        eps_mode: eps inside the root, as in the book, or outside, as in torch, for which there is a fused kernel.
        implementation: see `d2lcli.optim.base.CachedOptimizer`.

    Raises:
        ValueError: a value out of range.
    """
    mode: EpsMode = eps_mode
    defaults = {"lr": lr, "eps": eps, "initial": initial, "weight_decay": weight_decay, "eps_mode": mode}
    return Adagrad(params, defaults, implementation)

"""Yogi (Zaheer et al., 2018; d2l 12.10)."""

from collections.abc import Iterable, Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from d2lcli.optim.adam import Adam
from d2lcli.optim.checks import require_non_negative
from d2lcli.optim.packs import Group, Pack


class Yogi(Adam):
    """Adam whose second moment moves by a step of bounded size, so that rare large gradients are not forgotten.

        m <- b1 m + (1 - b1) g          v <- v + (1 - b2) g^2 sign(g^2 - v)
        w <- w - lr * m / (1 - b1^t) / (sqrt(v / (1 - b2^t)) + eps)

    with g the gradient of the loss plus l2 w.  State: that of Adam; v begins at `initial`.
    """

    def start(self, name: str, group: Group) -> float:
        return float(group["initial"]) if name == "exp_avg_sq" else 0.0

    def has_kernel(self, group: Group) -> bool:
        return False

    def check_group(self, group: Group) -> None:
        super().check_group(group)
        require_non_negative(group, "initial")

    def step_foreach(self, pack: Pack, grads: list[Tensor]) -> None:
        beta1, beta2 = pack.group["betas"]
        grads = self._decay_foreach(pack, grads)
        torch._foreach_lerp_(pack.state["exp_avg"], grads, 1 - beta1)
        squares = torch._foreach_mul(grads, grads)
        signs = torch._foreach_sub(squares, pack.state["exp_avg_sq"])
        torch._foreach_sign_(signs)
        torch._foreach_addcmul_(pack.state["exp_avg_sq"], squares, signs, 1 - beta2)
        self._apply_foreach(pack)

    def _second_moment(self, v: Tensor, g: Tensor, beta2: float) -> None:
        v.add_((1 - beta2) * g * g * torch.sign(g * g - v))


def yogi(
    params: Iterable[Any],
    lr: float = 0.01,
    betas: Sequence[float] = (0.9, 0.999),
    eps: float = 1e-3,
    l2: float = 0.0,
    initial: float = 0.0,
    implementation: Literal["auto", "foreach", "plain"] = "auto",
) -> Yogi:
    """Yogi, with Adam's bias correction as in the book.

    Args:
        params: tensors or param groups.
        lr: learning rate, at least 0.
        betas: weights of the past in both moments, each in [0, 1).
        eps: added to the root of the second moment, at least 0.
        l2: strength of an L2 penalty whose gradient goes through the moments, at least 0.
        initial: what the second moment starts from: 0 as in the book, or 1e-6.
        implementation: see `d2lcli.optim.base.CachedOptimizer`.

    Raises:
        ValueError: a value out of range.
    """
    defaults = {"lr": lr, "betas": tuple(betas), "eps": eps, "l2": l2, "initial": initial}
    return Yogi(params, defaults, implementation)

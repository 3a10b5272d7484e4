"""Adam (Kingma and Ba, 2015; d2l 12.10) and AdamW (Loshchilov and Hutter, 2019)."""

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from d2lcli.optim.base import CachedOptimizer
from d2lcli.optim.checks import require, require_fraction, require_non_negative
from d2lcli.optim.packs import Group, Implementation, Pack


class Adam(CachedOptimizer):
    """Adam, with torch's numerics: eps is added outside the root.

    With g the gradient of the loss plus l2 w, t the number of updates including this one, and (b1, b2) the betas:

        m <- b1 m + (1 - b1) g          v <- b2 v + (1 - b2) g^2
        w <- w - lr * m / (1 - b1^t) / (sqrt(v / (1 - b2^t)) + eps)

    State: "exp_avg" (m), "exp_avg_sq" (v), "step" (t, a float32 scalar).
    """

    counts_steps = True
    decay_name = "l2"

    def state_names(self, group: Group) -> tuple[str, ...]:
        return ("exp_avg", "exp_avg_sq")

    def check_group(self, group: Group) -> None:
        require_non_negative(group, "lr", "eps", self.decay_name)
        betas = group["betas"]
        require("betas", betas, isinstance(betas, list | tuple) and len(betas) == 2, "two numbers")
        for i, beta in enumerate(betas):
            require_fraction(f"betas[{i}]", beta)

    def step_fused(self, pack: Pack, grads: list[Tensor]) -> None:
        self._call_kernel(torch._fused_adam_, pack, grads)

    def _call_kernel(self, kernel: Any, pack: Pack, grads: list[Tensor]) -> None:
        group = pack.group
        beta1, beta2 = group["betas"]
        kernel(
            pack.params,
            grads,
            pack.state["exp_avg"],
            pack.state["exp_avg_sq"],
            [],
            pack.steps,
            lr=group["lr"],
            beta1=beta1,
            beta2=beta2,
            weight_decay=group[self.decay_name],
            eps=group["eps"],
            amsgrad=False,
            maximize=False,
        )

    def step_foreach(self, pack: Pack, grads: list[Tensor]) -> None:
        group = pack.group
        beta1, beta2 = group["betas"]
        grads = self._decay_foreach(pack, grads)
        torch._foreach_lerp_(pack.state["exp_avg"], grads, 1 - beta1)
        torch._foreach_mul_(pack.state["exp_avg_sq"], beta2)
        torch._foreach_addcmul_(pack.state["exp_avg_sq"], grads, grads, 1 - beta2)
        self._apply_foreach(pack)

    def _apply_foreach(self, pack: Pack) -> None:
        """The step along the moments as they now are."""
        group = pack.group
        beta1, beta2 = group["betas"]
        counts = [step.item() for step in pack.steps]
        denominators = torch._foreach_sqrt(pack.state["exp_avg_sq"])
        torch._foreach_div_(denominators, [(1 - beta2**t) ** 0.5 for t in counts])
        torch._foreach_add_(denominators, group["eps"])
        rates = [-group["lr"] / (1 - beta1**t) for t in counts]
        torch._foreach_addcdiv_(pack.params, pack.state["exp_avg"], denominators, rates)

    def step_plain(self, pack: Pack, grads: list[Tensor]) -> None:
        group = pack.group
        beta1, beta2 = group["betas"]
        moments = zip(pack.state["exp_avg"], pack.state["exp_avg_sq"], strict=True)
        for w, g, (m, v), step in zip(pack.params, grads, moments, pack.steps, strict=True):
            t = step.item()
            g = self._decay_plain(group, w, g)
            m.mul_(beta1).add_((1 - beta1) * g)
            self._second_moment(v, g, beta2)
            m_hat = m / (1 - beta1**t)
            v_hat = v / (1 - beta2**t)
            w.sub_(group["lr"] * m_hat / (v_hat.sqrt() + group["eps"]))

    def _second_moment(self, v: Tensor, g: Tensor, beta2: float) -> None:
        v.mul_(beta2).add_((1 - beta2) * g * g)

    def _decay_foreach(self, pack: Pack, grads: list[Tensor]) -> list[Tensor]:
        """The gradients of the loss with its penalty."""
        l2 = pack.group["l2"]
        return list(torch._foreach_add(grads, pack.params, alpha=l2)) if l2 else grads

    def _decay_plain(self, group: Group, w: Tensor, g: Tensor) -> Tensor:
        return g.add(w, alpha=group["l2"])


class AdamW(Adam):
    """Adam with decoupled decay: w <- (1 - lr * weight_decay) w, then Adam's step by the gradient of the loss alone."""

    decay_name = "weight_decay"

    def step_fused(self, pack: Pack, grads: list[Tensor]) -> None:
        self._call_kernel(torch._fused_adamw_, pack, grads)

    def _decay_foreach(self, pack: Pack, grads: list[Tensor]) -> list[Tensor]:
        if pack.group["weight_decay"]:
            torch._foreach_mul_(pack.params, 1 - pack.group["lr"] * pack.group["weight_decay"])
        return grads

    def _decay_plain(self, group: Group, w: Tensor, g: Tensor) -> Tensor:
        w.mul_(1 - group["lr"] * group["weight_decay"])
        return g


def adam(
    params: Iterable[Any],
    lr: float = 0.001,
    betas: Sequence[float] = (0.9, 0.999),
    eps: float = 1e-8,
    l2: float = 0.0,
    implementation: Implementation = "auto",
) -> Adam:
    """Adam.

    Args:
        params: tensors or param groups.
        lr: learning rate, at least 0.
        betas: weights of the running averages of g and of g^2, each in [0, 1).
        eps: added to the root of the second moment, at least 0.
        l2: strength of an L2 penalty whose gradient goes through the moments, at least 0; for
            decay that does not, see `adamw`.
        implementation: see `d2lcli.optim.base.CachedOptimizer`.

    Raises:
        ValueError: a value out of range.
    """
    return Adam(params, {"lr": lr, "betas": tuple(betas), "eps": eps, "l2": l2}, implementation)


def adam_l2(
    params: Iterable[Any],
    lr: float = 0.001,
    betas: Sequence[float] = (0.9, 0.999),
    eps: float = 1e-8,
    l2: float = 0.01,
    implementation: Implementation = "auto",
) -> Adam:
    """Adam on the loss with an L2 penalty, the coupled form: to be compared with `adamw` at the same strength.

    The penalty's gradient is divided by the root of the second moment like the rest, so that weights with large
    gradients decay less.  Arguments and errors are those of `adam`.
    """
    return adam(params, lr, betas, eps, l2, implementation)


def adamw(
    params: Iterable[Any],
    lr: float = 0.001,
    betas: Sequence[float] = (0.9, 0.999),
    eps: float = 1e-8,
    weight_decay: float = 0.01,
    implementation: Implementation = "auto",
) -> AdamW:
    """Adam with decoupled weight decay.

    Args:
        params: tensors or param groups.
        lr: learning rate, at least 0.
        betas: weights of the running averages of g and of g^2, each in [0, 1).
        eps: added to the root of the second moment, at least 0.
        weight_decay: the share of a weight that decays in one step is lr * weight_decay; at least 0.
        implementation: see `d2lcli.optim.base.CachedOptimizer`.

    Raises:
        ValueError: a value out of range.
    """
    defaults = {"lr": lr, "betas": tuple(betas), "eps": eps, "weight_decay": weight_decay}
    return AdamW(params, defaults, implementation)

"""Stochastic gradient descent and its momentum form (d2l 12.4 and 12.6)."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from d2lcli.optim.base import CachedOptimizer
from d2lcli.optim.checks import require, require_fraction, require_non_negative
from d2lcli.optim.packs import Group, Implementation, Pack


class SGD(CachedOptimizer):
    """w <- (1 - lr * weight_decay) w - lr g.  Keeps no state.

    The fused kernel computes the same as w - lr (g + weight_decay w).  Sparse gradients work where nothing decays.
    """

    def state_names(self, group: Group) -> tuple[str, ...]:
        return ()

    def check_group(self, group: Group) -> None:
        require_non_negative(group, "lr", "weight_decay")

    def step_fused(self, pack: Pack, grads: list[Tensor]) -> None:
        group = pack.group
        torch._fused_sgd_(
            pack.params,
            grads,
            [],
            weight_decay=group["weight_decay"],
            momentum=0.0,
            lr=group["lr"],
            dampening=0.0,
            nesterov=False,
            maximize=False,
            is_first_step=False,
        )

    def step_foreach(self, pack: Pack, grads: list[Tensor]) -> None:
        lr, decay = pack.group["lr"], pack.group["weight_decay"]
        if decay:
            torch._foreach_mul_(pack.params, 1 - lr * decay)
        torch._foreach_add_(pack.params, grads, alpha=-lr)

    def step_plain(self, pack: Pack, grads: list[Tensor]) -> None:
        lr, decay = pack.group["lr"], pack.group["weight_decay"]
        for w, g in zip(pack.params, grads, strict=True):
            if decay:
                w.mul_(1 - lr * decay)
            w.add_(g, alpha=-lr)

    def step_sparse(self, pack: Pack, grads: list[Tensor]) -> None:
        decay = pack.group["weight_decay"]
        if decay:
            raise ValueError(
                f"sgd cannot combine sparse gradients with weight_decay={decay!r}: decay changes every element"
            )
        self.step_plain(pack, grads)


class Momentum(CachedOptimizer):
    """v <- momentum v + (g + weight_decay w), w <- w - lr v.

    The Nesterov form steps by g + weight_decay w + momentum v instead of v.
    State: "momentum_buffer", v, zero at first.
    """

    def state_names(self, group: Group) -> tuple[str, ...]:
        return ("momentum_buffer",)

    def check_group(self, group: Group) -> None:
        require_non_negative(group, "lr", "weight_decay")
        require_fraction("momentum", group["momentum"])
        if group["nesterov"]:
            require("momentum", group["momentum"], group["momentum"] > 0, "above 0 where nesterov=True")

    def step_fused(self, pack: Pack, grads: list[Tensor]) -> None:
        group = pack.group
        torch._fused_sgd_(
            pack.params,
            grads,
            pack.state["momentum_buffer"],
            weight_decay=group["weight_decay"],
            momentum=group["momentum"],
            lr=group["lr"],
            dampening=0.0,
            nesterov=group["nesterov"],
            maximize=False,
            is_first_step=False,
        )

    def step_foreach(self, pack: Pack, grads: list[Tensor]) -> None:
        group, velocities = pack.group, pack.state["momentum_buffer"]
        if group["weight_decay"]:
            grads = torch._foreach_add(grads, pack.params, alpha=group["weight_decay"])  # type: ignore[assignment]
        torch._foreach_mul_(velocities, group["momentum"])
        torch._foreach_add_(velocities, grads)
        if group["nesterov"]:
            directions = torch._foreach_add(grads, velocities, alpha=group["momentum"])
            torch._foreach_add_(pack.params, directions, alpha=-group["lr"])
        else:
            torch._foreach_add_(pack.params, velocities, alpha=-group["lr"])

    def step_plain(self, pack: Pack, grads: list[Tensor]) -> None:
        group = pack.group
        for w, g, v in zip(pack.params, grads, pack.state["momentum_buffer"], strict=True):
            if group["weight_decay"]:
                g = g + group["weight_decay"] * w
            v.mul_(group["momentum"]).add_(g)
            direction = g + group["momentum"] * v if group["nesterov"] else v
            w.add_(direction, alpha=-group["lr"])


def sgd(
    params: Iterable[Any], lr: float = 0.1, weight_decay: float = 0.0, implementation: Implementation = "auto"
) -> SGD:
    """Minibatch stochastic gradient descent.

    Args:
        params: tensors or param groups.
        lr: learning rate, at least 0.
        weight_decay: strength of the L2 penalty weight_decay / 2 * |w|^2, at least 0.
        implementation: see `d2lcli.optim.base.CachedOptimizer`.

    Raises:
        ValueError: a value out of range.
    """
    return SGD(params, {"lr": lr, "weight_decay": weight_decay}, implementation)


def gd(
    params: Iterable[Any], lr: float = 0.1, weight_decay: float = 0.0, implementation: Implementation = "auto"
) -> SGD:
    """Gradient descent (d2l 12.3): the step of `sgd`, on the gradient of all training examples.

    A training run takes a whole pass as one update; elsewhere the caller gives that gradient.  Arguments and errors
    are those of `sgd`.
    """
    return sgd(params, lr, weight_decay, implementation)


def momentum(
    params: Iterable[Any],
    lr: float = 0.1,
    momentum: float = 0.9,
    weight_decay: float = 0.0,
    nesterov: bool = False,
    implementation: Implementation = "auto",
) -> Momentum:
    """SGD with momentum; a constant gradient is amplified 1 / (1 - momentum) times.

    Args:
        params: tensors or param groups.
        lr: learning rate, at least 0.
        momentum: how much of the velocity is kept at each step, in [0, 1).
        weight_decay: strength of the L2 penalty, at least 0; part of the gradient, as in torch.
        nesterov: look one step ahead (Nesterov, 1983, in the form of Sutskever et al., 2013).
        implementation: see `d2lcli.optim.base.CachedOptimizer`.

    Raises:
        ValueError: a value out of range.
    """
    defaults = {"lr": lr, "momentum": momentum, "weight_decay": weight_decay, "nesterov": nesterov}
    return Momentum(params, defaults, implementation)


def nesterov(
    params: Iterable[Any],
    lr: float = 0.1,
    momentum: float = 0.9,
    weight_decay: float = 0.0,
    implementation: Implementation = "auto",
) -> Momentum:
    """Nesterov's accelerated gradient: momentum that looks one step ahead (Nesterov, 1983; Sutskever et al., 2013).

    Args:
        params: tensors or param groups.
        lr: learning rate, at least 0.
        momentum: how much of the velocity is kept at each step, in (0, 1).
        weight_decay: strength of the L2 penalty, at least 0; part of the gradient, as in torch.
        implementation: see `d2lcli.optim.base.CachedOptimizer`.

    Raises:
        ValueError: a value out of range.
    """
    defaults = {"lr": lr, "momentum": momentum, "weight_decay": weight_decay, "nesterov": True}
    return Momentum(params, defaults, implementation)

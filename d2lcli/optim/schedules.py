"""Learning-rate schedules (d2l 12.11): pure functions of the step, which may be a count of updates or of epochs.

Each builder returns rate(step), the learning rate to use at `step`, from 0 on.  Nothing is remembered between calls, so
a resumed run needs no state, and a rate may be asked for far beyond the end: a schedule that ends stays where it ended.
The names of the parameters are those of the book.
"""

from bisect import bisect_right
from collections.abc import Callable, Sequence
from math import cos, exp, isfinite, pi
from typing import TypeAlias

Schedule: TypeAlias = Callable[[int], float]


def constant(lr: float) -> Schedule:
    """The same learning rate throughout.

    Raises:
        ValueError: lr is negative.
    """
    _check_rates(lr=lr)
    return lambda step: lr


def multistep(lr: float, milestones: Sequence[int] = (5, 8), factor: float = 0.5) -> Schedule:
    """lr * factor^(number of milestones reached); at a milestone itself the factor is in force, as in torch.

    Args:
        lr: learning rate before the first milestone.
        milestones: steps in increasing order; one given twice counts twice.
        factor: at least 0.

    Raises:
        ValueError: a value out of range, or milestones out of order.
    """
    _check_rates(lr=lr, factor=factor)
    reached = list(milestones)
    if reached != sorted(reached) or (reached and reached[0] < 0):
        raise ValueError(f"milestones={reached} must be steps of at least 0 in increasing order")
    return lambda step: lr * factor ** bisect_right(reached, step)


def linear(lr: float, max_update: int, final_lr: float = 0.0) -> Schedule:
    """lr + (final_lr - lr) step / max_update, then final_lr (Mikolov et al., 2013).

    Args:
        lr: learning rate at step 0.
        max_update: steps until final_lr, at least 1.
        final_lr: at least 0.

    Raises:
        ValueError: a value out of range.
    """
    _check_rates(lr=lr, final_lr=final_lr)
    if max_update < 1:
        raise ValueError(f"max_update={max_update} must be at least 1")
    return lambda step: lr + (final_lr - lr) * min(step / max_update, 1.0)


def cosine(lr: float, max_update: int, final_lr: float = 0.0) -> Schedule:
    """final_lr + (lr - final_lr) (1 + cos(pi step / max_update)) / 2, then final_lr.

    Torch's CosineAnnealingLR gives the same up to max_update, and rises again after it.

    Args:
        lr: learning rate at step 0.
        max_update: steps until final_lr, at least 1.
        final_lr: at least 0.

    Raises:
        ValueError: a value out of range.
    """
    return warmup_cosine(lr, max_update, final_lr, warmup_steps=0)


def warmup(lr: float, warmup_steps: int = 100, warmup_begin_lr: float = 0.0) -> Schedule:
    """warmup_begin_lr + (lr - warmup_begin_lr) step / warmup_steps, then lr.

    Args:
        lr: learning rate after the rise.
        warmup_steps: length of the rise, at least 0.
        warmup_begin_lr: learning rate at step 0.

    Raises:
        ValueError: a value out of range.
    """
    _check_rates(lr=lr, warmup_begin_lr=warmup_begin_lr)
    if warmup_steps < 0:
        raise ValueError(f"warmup_steps={warmup_steps} must be at least 0")

    def rate(step: int) -> float:
        return warmup_begin_lr + (lr - warmup_begin_lr) * step / warmup_steps if step < warmup_steps else lr

    return rate


def warmup_cosine(
    lr: float, max_update: int, final_lr: float = 0.0, warmup_steps: int = 100, warmup_begin_lr: float = 0.0
) -> Schedule:
    """The rise of `warmup`, then half a cosine over the remaining max_update - warmup_steps steps, then final_lr.

    Args:
        lr: the highest learning rate, at step warmup_steps.
        max_update: steps until final_lr, the rise included; at least 1.
        final_lr: at least 0.
        warmup_steps: length of the rise, from 0 to max_update.
        warmup_begin_lr: learning rate at step 0.

    Raises:
        ValueError: a value out of range.
    """
    rise = warmup(lr, warmup_steps, warmup_begin_lr)
    _check_rates(final_lr=final_lr)
    if max_update < 1:
        raise ValueError(f"max_update={max_update} must be at least 1")
    if warmup_steps > max_update:
        raise ValueError(
            f"warmup_steps={warmup_steps} must not exceed max_update={max_update}, the length of the schedule"
        )
    fall = max_update - warmup_steps

    def rate(step: int) -> float:
        if step < warmup_steps:
            return rise(step)
        if step >= max_update:
            return final_lr
        return final_lr + (lr - final_lr) * (1 + cos(pi * (step - warmup_steps) / fall)) / 2

    return rate


def sqrt(lr: float) -> Schedule:
    """lr (step + 1)^(-1/2)."""
    return polynomial(lr, alpha=0.5, beta=1.0)


def factor(lr: float, factor: float = 0.9, min_lr: float = 1e-7) -> Schedule:
    """max(min_lr, lr factor^step); the rate at step 0 is lr.

    Args:
        lr: learning rate at step 0.
        factor: from 0 to 1.
        min_lr: where the fall ends, at least 0; where lr is already below, the rate stays lr.

    Raises:
        ValueError: a value out of range.
    """
    _check_rates(lr=lr, factor=factor, min_lr=min_lr)
    if factor > 1:
        raise ValueError(f"factor={factor!r} must be from 0 to 1")
    floor = min(lr, min_lr)
    return lambda step: max(floor, lr * factor**step)


def exponential(lr: float, decay: float = 0.1) -> Schedule:
    """lr e^(-decay step); torch's ExponentialLR with gamma = e^(-decay).

    Args:
        lr: learning rate at step 0.
        decay: at least 0.

    Raises:
        ValueError: a value out of range.
    """
    _check_rates(lr=lr, decay=decay)
    return lambda step: lr * exp(-decay * step)


def polynomial(lr: float, alpha: float = 0.5, beta: float = 0.1) -> Schedule:
    """lr (beta step + 1)^(-alpha); alpha = 1/2 suits convex problems.

    Args:
        lr: learning rate at step 0.
        alpha: at least 0.
        beta: at least 0.

    Raises:
        ValueError: a value out of range.
    """
    _check_rates(lr=lr, alpha=alpha, beta=beta)
    return lambda step: float(lr * (beta * step + 1) ** -alpha)


def piecewise(lr: float, milestones: Sequence[int] = (5, 8), factors: Sequence[float] = (0.5, 0.1)) -> Schedule:
    """lr before the first milestone, then lr * factors[i] from milestones[i] on.

    Args:
        lr: learning rate before the first milestone.
        milestones: steps in strictly increasing order, at least 0.
        factors: one for each milestone, at least 0; of the first rate, not of the one before.

    Raises:
        ValueError: a value out of range, milestones out of order, or not one factor for each.
    """
    _check_rates(lr=lr, **{f"factors[{i}]": value for i, value in enumerate(factors)})
    reached = list(milestones)
    if reached != sorted(set(reached)) or (reached and reached[0] < 0):
        raise ValueError(f"milestones={reached} must be steps of at least 0 in strictly increasing order")
    if len(factors) != len(reached):
        raise ValueError(f"factors={list(factors)} must have one number for each of milestones={reached}")
    rates = [lr, *(lr * factor for factor in factors)]
    return lambda step: rates[bisect_right(reached, step)]


def step(lr: float, every: int = 4, factor: float = 0.9) -> Schedule:
    """lr factor^floor(step / every); torch's StepLR with step_size = every and gamma = factor.

    Args:
        lr: learning rate at first.
        every: steps between two changes, at least 1.
        factor: from 0 to 1.

    Raises:
        ValueError: a value out of range.
    """
    _check_rates(lr=lr, factor=factor)
    if factor > 1:
        raise ValueError(f"factor={factor!r} must be from 0 to 1")
    if every < 1:
        raise ValueError(f"every={every} must be at least 1")
    return lambda step: lr * factor ** (step // every)


def _check_rates(**values: float) -> None:
    for name, value in values.items():
        if not (isfinite(value) and value >= 0):
            raise ValueError(f"{name}={value!r} must be a number, finite and at least 0")

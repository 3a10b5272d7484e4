"""Schedules against torch's schedulers, the book's figures and closed forms."""

import math
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.optim.lr_scheduler import (
    CosineAnnealingLR,
    ExponentialLR,
    LinearLR,
    LRScheduler,
    MultiStepLR,
    SequentialLR,
    StepLR,
)

from d2lcli.optim.schedules import (
    constant,
    cosine,
    exponential,
    factor,
    linear,
    multistep,
    piecewise,
    polynomial,
    sqrt,
    step,
    warmup,
    warmup_cosine,
)


def test_linear_is_torch_s_and_then_flat() -> None:
    expected = rates_of_torch(lambda o: LinearLR(o, 1.0, 0.1, total_iters=40), lr=0.5, steps=60)
    assert [linear(0.5, 40, 0.05)(step) for step in range(60)] == pytest.approx(expected)
    with pytest.raises(ValueError, match="max_update=0"):
        linear(0.5, 0)


def rates_of_torch(make: Callable[[torch.optim.Optimizer], LRScheduler], lr: float, steps: int) -> list[float]:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=lr)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own: SequentialLR calls step with a deprecated argument
        scheduler = make(optimizer)
        seen = []
        for _ in range(steps):
            seen.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            scheduler.step()
    return seen


def test_constant() -> None:
    assert [constant(0.3)(step) for step in (0, 7, 10**9)] == [0.3] * 3


def test_multistep_equals_torch() -> None:
    rate = multistep(0.5, milestones=[15, 30], factor=0.5)
    theirs = rates_of_torch(lambda optimizer: MultiStepLR(optimizer, [15, 30], gamma=0.5), 0.5, 40)
    assert [rate(step) for step in range(40)] == pytest.approx(theirs, rel=1e-12)
    assert [rate(step) for step in (14, 15, 30)] == [0.5, 0.25, 0.125]
    assert multistep(1.0, milestones=[2, 2], factor=0.1)(2) == pytest.approx(0.01)
    assert multistep(1.0, milestones=[])(99) == 1.0


def test_cosine_equals_torch_up_to_the_end_and_stays_there() -> None:
    rate = cosine(0.3, max_update=20, final_lr=0.01)
    theirs = rates_of_torch(lambda optimizer: CosineAnnealingLR(optimizer, 20, eta_min=0.01), 0.3, 21)
    assert [rate(step) for step in range(21)] == pytest.approx(theirs, rel=1e-9)
    assert [rate(step) for step in (20, 21, 40, 10**9)] == [0.01] * 4
    assert rate(10) == pytest.approx(0.155)  # half-way: the mean of both ends


def test_warmup_is_a_straight_line() -> None:
    rate = warmup(0.3, warmup_steps=5, warmup_begin_lr=0.1)
    assert [rate(step) for step in range(7)] == pytest.approx([0.1, 0.14, 0.18, 0.22, 0.26, 0.3, 0.3])
    assert warmup(0.3, warmup_steps=0)(0) == 0.3


def test_warmup_cosine_equals_torch() -> None:
    def make(optimizer: torch.optim.Optimizer) -> LRScheduler:
        rise = LinearLR(optimizer, start_factor=0.1, end_factor=1.0, total_iters=5)
        fall = CosineAnnealingLR(optimizer, 15, eta_min=0.01)
        return SequentialLR(optimizer, [rise, fall], milestones=[5])

    rate = warmup_cosine(0.3, max_update=20, final_lr=0.01, warmup_steps=5, warmup_begin_lr=0.03)
    assert [rate(step) for step in range(21)] == pytest.approx(rates_of_torch(make, 0.3, 21), rel=1e-9)
    assert rate(5) == pytest.approx(0.3)
    assert rate(8) == pytest.approx(0.01 + 0.29 * (1 + math.cos(math.pi * 3 / 15)) / 2)
    assert rate(10**9) == 0.01


def test_a_warmup_as_long_as_the_schedule_ends_at_the_final_rate() -> None:
    rate = warmup_cosine(0.4, max_update=4, warmup_steps=4)
    assert [rate(step) for step in range(6)] == pytest.approx([0.0, 0.1, 0.2, 0.3, 0.0, 0.0])


@pytest.mark.parametrize(
    ("build", "options", "message"),
    [
        (constant, {"lr": -0.1}, r"lr=-0\.1 must be"),
        (constant, {"lr": math.nan}, "lr=nan must be"),
        (multistep, {"lr": 1.0, "milestones": [3, 1]}, r"milestones=\[3, 1\] must be"),
        (multistep, {"lr": 1.0, "milestones": [-1]}, r"milestones=\[-1\] must be"),
        (multistep, {"lr": 1.0, "factor": -2.0}, r"factor=-2\.0 must be"),
        (cosine, {"lr": 1.0, "max_update": 0}, "max_update=0 must be"),
        (cosine, {"lr": 1.0, "max_update": 5, "final_lr": -1.0}, r"final_lr=-1\.0 must be"),
        (warmup, {"lr": 1.0, "warmup_steps": -1}, "warmup_steps=-1 must be"),
        (warmup, {"lr": 1.0, "warmup_begin_lr": -1.0}, r"warmup_begin_lr=-1\.0 must be"),
        (warmup_cosine, {"lr": 1.0, "max_update": 5, "warmup_steps": 6}, "warmup_steps=6 must not exceed max_update=5"),
    ],
)
def test_a_bad_option_is_refused(build: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build(**options)


def test_closed_forms_from_0_to_100() -> None:
    for t in range(101):
        assert sqrt(0.3)(t) == pytest.approx(0.3 / math.sqrt(t + 1), rel=1e-14)
        assert factor(2.0, factor=0.9, min_lr=1e-2)(t) == pytest.approx(max(1e-2, 2.0 * 0.9**t), rel=1e-14)
        assert exponential(0.3, decay=0.1)(t) == pytest.approx(0.3 * math.exp(-0.1 * t), rel=1e-14)
        assert polynomial(0.3, alpha=0.7, beta=0.2)(t) == pytest.approx(0.3 / (0.2 * t + 1) ** 0.7, rel=1e-14)
        assert step(0.3, every=4, factor=0.9)(t) == pytest.approx(0.3 * 0.9 ** math.floor(t / 4), rel=1e-14)
    assert factor(2.0)(0) == 2.0  # the formula's, not the 1.8 of the book's class, which multiplies first
    assert factor(1e-9, min_lr=1e-3)(5) == 1e-9  # a floor above lr does not raise it


def test_piecewise_at_its_boundaries() -> None:
    rate = piecewise(0.4, milestones=[2, 5], factors=[0.5, 0.25])
    assert [rate(t) for t in range(8)] == pytest.approx([0.4, 0.4, 0.2, 0.2, 0.2, 0.1, 0.1, 0.1])
    for milestones, factors in (([5, 2], [1, 1]), ([2, 2], [1, 1]), ([-1], [1]), ([2], [1, 1]), ([2], [-1.0])):
        with pytest.raises(ValueError, match=r"milestones|factors"):
            piecewise(0.4, milestones=milestones, factors=factors)


def test_exponential_and_step_equal_torch() -> None:
    def decaying(optimizer: torch.optim.Optimizer) -> LRScheduler:
        return ExponentialLR(optimizer, math.exp(-0.1))

    def stepping(optimizer: torch.optim.Optimizer) -> LRScheduler:
        return StepLR(optimizer, 4, gamma=0.9)

    assert [exponential(0.3)(t) for t in range(50)] == pytest.approx(rates_of_torch(decaying, 0.3, 50), rel=1e-12)
    assert [step(0.3)(t) for t in range(50)] == pytest.approx(rates_of_torch(stepping, 0.3, 50), rel=1e-12)


@pytest.mark.parametrize(
    ("build", "options"),
    [
        (factor, {"factor": 1.5}),
        (factor, {"min_lr": -1.0}),
        (exponential, {"decay": -1.0}),
        (polynomial, {"alpha": -1.0}),
        (polynomial, {"beta": math.inf}),
        (step, {"every": 0}),
        (step, {"factor": 1.1}),
    ],
)
def test_values_out_of_range(build: Callable[..., Any], options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        build(0.1, **options)

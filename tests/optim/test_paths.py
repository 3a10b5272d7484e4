"""Every path of every optimizer, walked in step with torch's own and with the first steps computed by hand."""

import copy
import math
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

from d2lcli.optim.adadelta import adadelta
from d2lcli.optim.adagrad import adagrad
from d2lcli.optim.adam import adam, adam_l2, adamw
from d2lcli.optim.rmsprop import rmsprop
from d2lcli.optim.sgd import gd, momentum, nesterov, sgd

SHAPES = [(10, 7), (3,), (), (4, 3, 3, 3), (1, 1)]
PATHS = ["fused", "foreach", "plain"]
CASES: list[tuple[str, Any, dict[str, Any], Any, dict[str, Any]]] = [
    ("sgd", sgd, {"lr": 0.1}, torch.optim.SGD, {}),
    ("sgd-decay", sgd, {"lr": 0.1, "weight_decay": 0.3}, torch.optim.SGD, {}),
    ("gd", gd, {"lr": 0.1}, torch.optim.SGD, {}),
    ("nesterov-name", partial(nesterov), {"lr": 0.05, "momentum": 0.9}, partial(torch.optim.SGD, nesterov=True), {}),
    ("momentum", momentum, {"lr": 0.05, "momentum": 0.9}, torch.optim.SGD, {}),
    ("momentum-decay", momentum, {"lr": 0.05, "momentum": 0.5, "weight_decay": 0.1}, torch.optim.SGD, {}),
    ("nesterov", momentum, {"lr": 0.05, "momentum": 0.9, "nesterov": True, "weight_decay": 0.1}, torch.optim.SGD, {}),
    ("adam", adam, {"lr": 0.01}, torch.optim.Adam, {}),
    (
        "adam-l2",
        adam,
        {"lr": 0.01, "betas": (0.8, 0.99), "eps": 1e-6, "l2": 0.2},
        torch.optim.Adam,
        {"l2": "weight_decay"},
    ),
    ("adam_l2", adam_l2, {"lr": 0.01, "l2": 0.1}, torch.optim.Adam, {"l2": "weight_decay"}),
    ("adamw", adamw, {"lr": 0.01}, torch.optim.AdamW, {}),
    ("adamw-decay", adamw, {"lr": 0.01, "betas": (0.0, 0.9), "weight_decay": 0.5}, torch.optim.AdamW, {}),
]
# Where torch puts eps; d2lcli's own places are walked against NumPy in test_trajectories.py.
OUTSIDE: list[tuple[str, Any, dict[str, Any], Any, dict[str, Any]]] = [
    (
        "adagrad",
        partial(adagrad, eps_mode="outside"),
        {"lr": 0.1, "initial": 0.5, "weight_decay": 0.1, "eps": 1e-3},
        torch.optim.Adagrad,
        {"initial": "initial_accumulator_value"},
    ),
]
WITHOUT_KERNEL: list[tuple[str, Any, dict[str, Any], Any, dict[str, Any]]] = [
    (
        "rmsprop",
        partial(rmsprop, eps_mode="outside"),
        {"lr": 0.01, "gamma": 0.9, "eps": 1e-3, "weight_decay": 0.1},
        torch.optim.RMSprop,
        {"gamma": "alpha"},
    ),
    ("adadelta", adadelta, {"lr": 1.0, "rho": 0.9, "eps": 1e-5, "weight_decay": 0.1}, torch.optim.Adadelta, {}),
]
CASES += OUTSIDE
every_case = pytest.mark.parametrize("case", CASES, ids=[case[0] for case in CASES])
every_path = pytest.mark.parametrize("path", PATHS)


def parameters(dtype: torch.dtype = torch.float64) -> list[torch.nn.Parameter]:
    generator = torch.Generator().manual_seed(3)
    made = [torch.nn.Parameter(torch.randn(shape, generator=generator).to(dtype)) for shape in SHAPES]
    made[3].data = made[3].data.to(memory_format=torch.channels_last)
    return made


def gradients(step: int, dtype: torch.dtype = torch.float64) -> list[Tensor]:
    generator = torch.Generator().manual_seed(100 + step)
    made = [torch.randn(shape, generator=generator).to(dtype) for shape in SHAPES]
    made[3] = made[3].to(memory_format=torch.channels_last)
    return made


def walk(optimizer: torch.optim.Optimizer, params: list[torch.nn.Parameter], steps: range) -> None:
    for step in steps:
        for param, grad in zip(params, gradients(step, params[0].dtype), strict=True):
            param.grad = grad
        optimizer.step()
        optimizer.zero_grad()


@every_path
@every_case
def test_hundred_steps_equal_torch(case: tuple[str, Any, dict[str, Any], Any, dict[str, Any]], path: str) -> None:
    _, build, options, reference, renamed = case
    ours, theirs = parameters(), parameters()
    walk(build(ours, implementation=path, **options), ours, range(100))
    walk(reference(theirs, **{renamed.get(key, key): value for key, value in options.items()}), theirs, range(100))
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("path", ["auto", "foreach", "plain"])
@pytest.mark.parametrize("case", WITHOUT_KERNEL, ids=[case[0] for case in WITHOUT_KERNEL])
def test_methods_without_a_kernel_equal_torch(
    case: tuple[str, Any, dict[str, Any], Any, dict[str, Any]], path: str
) -> None:
    test_hundred_steps_equal_torch(case, path)
    with pytest.raises(ValueError, match="no fused kernel"):
        case[1](parameters(), implementation="fused")


@every_path
@every_case
def test_float32_stays_near_float64(case: tuple[str, Any, dict[str, Any], Any, dict[str, Any]], path: str) -> None:
    _, build, options, _, _ = case
    single, double = parameters(torch.float32), parameters()
    walk(build(single, implementation=path, **options), single, range(20))
    walk(build(double, implementation="plain", **options), double, range(20))
    for mine, other in zip(single, double, strict=True):
        torch.testing.assert_close(mine.double(), other, rtol=2e-4, atol=2e-5)


@every_path
def test_first_steps_by_hand(path: str) -> None:
    def two_steps(build: Any, **options: Any) -> list[float]:
        w = torch.nn.Parameter(torch.tensor([1.0], dtype=torch.float64))
        optimizer = build([w], implementation=path, **options)
        seen = []
        for grad in (0.5, -1.0):
            w.grad = torch.tensor([grad], dtype=torch.float64)
            optimizer.step()
            seen.append(w.item())
        return seen

    assert two_steps(sgd, lr=0.1) == pytest.approx([0.95, 1.05])
    assert two_steps(sgd, lr=0.1, weight_decay=0.5) == pytest.approx([0.95 * 1.0 - 0.05, 0.95 * 0.9 + 0.1])
    # v: 0.5, then 0.9 * 0.5 - 1 = -0.55.
    assert two_steps(momentum, lr=0.1, momentum=0.9) == pytest.approx([0.95, 1.005])
    # Directions: 0.5 + 0.9 * 0.5 = 0.95, then -1 + 0.9 * -0.55 = -1.495.
    assert two_steps(momentum, lr=0.1, momentum=0.9, nesterov=True) == pytest.approx([0.905, 1.0545])
    # The first step of Adam is lr times the sign of the gradient.
    m_hat, v_hat = (0.9 * 0.05 - 0.1) / (1 - 0.81), (0.999 * 0.00025 + 0.001) / (1 - 0.999**2)
    second = 0.1 * m_hat / math.sqrt(v_hat)
    assert two_steps(adam, lr=0.1, eps=0.0) == pytest.approx([0.9, 0.9 - second])
    assert two_steps(adamw, lr=0.1, eps=0.0, weight_decay=0.5) == pytest.approx([0.85, 0.95 * 0.85 - second])


@every_path
@every_case
def test_a_saved_state_continues_bit_for_bit(
    case: tuple[str, Any, dict[str, Any], Any, dict[str, Any]], path: str
) -> None:
    _, build, options, _, _ = case
    whole, halves = parameters(torch.float32), parameters(torch.float32)
    walk(build(whole, implementation=path, **options), whole, range(20))
    first = build(halves, implementation=path, **options)
    walk(first, halves, range(10))
    saved = copy.deepcopy(first.state_dict())
    second = build(halves, implementation=path, **options)
    second.load_state_dict(saved)
    walk(first, parameters(torch.float32), range(3))  # the first one goes on; the second must not feel it
    walk(second, halves, range(10, 20))
    for one, other in zip(whole, halves, strict=True):
        assert torch.equal(one, other)


@every_case
def test_our_state_goes_into_torchs_optimizer(case: tuple[str, Any, dict[str, Any], Any, dict[str, Any]]) -> None:
    _, build, options, reference, renamed = case
    ours = parameters()
    optimizer = build(ours, **options)
    walk(optimizer, ours, range(5))
    theirs = [torch.nn.Parameter(param.detach().clone()) for param in ours]
    other = reference(theirs, **{renamed.get(key, key): value for key, value in options.items()})
    saved = other.state_dict()
    saved["state"] = copy.deepcopy(optimizer.state_dict()["state"])
    other.load_state_dict(saved)
    walk(optimizer, ours, range(5, 15))
    walk(other, theirs, range(5, 15))
    for mine, their in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, their, rtol=1e-9, atol=1e-12)


@every_path
def test_a_parameter_without_gradient_is_left_alone(path: str) -> None:
    ours, theirs = parameters(), parameters()
    pairs = [(adamw(ours, lr=0.1, implementation=path), ours), (torch.optim.AdamW(theirs, lr=0.1), theirs)]
    for optimizer, params in pairs:
        for step in range(6):
            for i, (param, grad) in enumerate(zip(params, gradients(step), strict=True)):
                param.grad = grad if (i + step) % 3 else None
            optimizer.step()
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-9, atol=1e-12)
    counts = [entry["step"].item() for entry in pairs[0][0].state_dict()["state"].values()]
    assert counts == [4.0] * len(SHAPES)


@every_path
@pytest.mark.parametrize("build", [sgd, momentum, adam, adamw])
def test_a_gradient_laid_out_unlike_its_parameter(build: Any, path: str) -> None:
    grad = torch.arange(12.0).reshape(4, 3).t()  # strides (1, 3) against (4, 1)
    ours, theirs = (torch.nn.Parameter(torch.ones(3, 4)) for _ in range(2))
    ours.grad, theirs.grad = grad, grad.contiguous()
    build([ours], implementation=path).step()
    build([theirs], implementation=path).step()
    assert torch.equal(ours, theirs)


@every_path
def test_a_model_may_change_its_memory_format_after_the_build(path: str) -> None:
    results = []
    for late in (False, True):
        conv = torch.nn.Conv2d(3, 4, 3)
        with torch.no_grad():
            conv.weight.copy_(torch.linspace(-1, 1, conv.weight.numel()).reshape(conv.weight.shape))
        if not late:
            conv.to(memory_format=torch.channels_last)
        optimizer = adam([conv.weight], lr=0.1, implementation=path)
        for step in range(3):
            conv.weight.grad = torch.sin(torch.arange(108.0) + step).reshape(4, 3, 3, 3).contiguous()
            conv.weight.grad = torch.empty_like(conv.weight).copy_(conv.weight.grad)
            optimizer.step()
            if late:
                conv.to(memory_format=torch.channels_last)
        results.append(conv.weight.detach())
    torch.testing.assert_close(results[0], results[1])

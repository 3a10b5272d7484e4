"""What every registered optimizer must do."""

import copy
from typing import Any, get_args, get_type_hints

import pytest
import torch
from torch import Tensor, nn

from d2lcli.errors import ConfigError
from d2lcli.registry import OPTIMIZERS


def paths(name: str) -> list[str]:
    """The implementations that a builder offers; for adagrad's default eps_mode there is no fused one."""
    if "implementation" not in OPTIMIZERS.parameters(name):
        return []
    offered = get_args(get_type_hints(OPTIMIZERS.get(name))["implementation"])
    return [path for path in offered if (name, path) != ("adagrad", "fused")]


# Methods whose steps shrink, or that bring their own size of step, need other rates to show that they learn.
RATES = {"adagrad": 0.5, "adadelta": 30.0, "newton": 0.5, "preconditioned_gd": 0.3, "normal_equation": 0.5}
ROSENBROCK_RATES = {"adagrad": 0.05, "adadelta": 0.5, "newton": 0.01, "preconditioned_gd": 0.01}
every_optimizer = pytest.mark.parametrize("name", OPTIMIZERS.names())
every_path = pytest.mark.parametrize(
    ("name", "options"),
    [
        pytest.param(name, options, id=f"{name}-{options.get('implementation', 'only')}")
        for name in OPTIMIZERS.names()
        for options in ([{"implementation": path} for path in paths(name)] or [{}])
    ],
)


def run_backward(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    """As the training loop does: by the optimizer where it needs more than the gradient."""
    getattr(optimizer, "backward", Tensor.backward)(loss)


def least_squares(steps: range, optimizer: torch.optim.Optimizer, w: nn.Parameter) -> list[float]:
    """Fit five weights to twenty equations; the loss before each step."""
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(20, 5, generator=generator).to(w.dtype)
    targets = inputs @ torch.randn(5, generator=generator).to(w.dtype)
    losses = []
    for _ in steps:
        loss = ((inputs @ w - targets) ** 2).mean()
        run_backward(optimizer, loss)
        losses.append(loss.item())
        optimizer.step()
        optimizer.zero_grad()
    return losses


@every_path
def test_the_loss_falls(name: str, options: dict[str, Any]) -> None:
    w = nn.Parameter(torch.zeros(5))
    losses = least_squares(range(60), OPTIMIZERS.build(name, params=[w], lr=RATES.get(name, 0.03), **options), w)
    assert losses[-1] < 0.2 * losses[0]


@pytest.mark.parametrize("name", [name for name in OPTIMIZERS.names() if name != "normal_equation"])
def test_rosenbrock_gets_closer(name: str) -> None:
    point = nn.Parameter(torch.tensor([-1.2, 1.0], dtype=torch.float64))
    optimizer = OPTIMIZERS.build(name, params=[point], lr=ROSENBROCK_RATES.get(name, 2e-4))
    optimum = torch.ones(2, dtype=torch.float64)
    start = (point.detach() - optimum).norm()
    for _ in range(3000):
        x, y = point
        run_backward(optimizer, (1 - x) ** 2 + 100 * (y - x**2) ** 2)
        optimizer.step()
        optimizer.zero_grad()
    assert (point.detach() - optimum).norm() < 0.95 * start


@every_optimizer
def test_the_paths_agree(name: str) -> None:
    """In float64 and few steps: near the minimum the sign of a gradient, which rounding decides, may be the step."""
    results = []
    for path in paths(name):
        w = nn.Parameter(torch.zeros(5, dtype=torch.float64))
        least_squares(range(20), OPTIMIZERS.build(name, params=[w], lr=0.03, implementation=path), w)
        results.append(w.detach())
    for other in results[1:]:
        torch.testing.assert_close(results[0], other, rtol=1e-9, atol=1e-12)


@every_path
def test_a_saved_state_continues_identically(name: str, options: dict[str, Any]) -> None:
    def build(w: nn.Parameter) -> torch.optim.Optimizer:
        made: torch.optim.Optimizer = OPTIMIZERS.build(name, params=[w], lr=0.03, **options)
        return made

    whole, half = nn.Parameter(torch.zeros(5)), nn.Parameter(torch.zeros(5))
    expected = least_squares(range(20), build(whole), whole)
    first = build(half)
    seen = least_squares(range(10), first, half)
    again = nn.Parameter(half.detach().clone())
    second = build(again)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    seen += least_squares(range(10, 20), second, again)
    assert seen == expected
    assert torch.equal(whole, again)


@every_optimizer
def test_the_state_is_made_of_tensors_and_plain_values(name: str) -> None:
    w = nn.Parameter(torch.zeros(5))
    optimizer = OPTIMIZERS.build(name, params=[w])
    before = optimizer.state_dict()
    least_squares(range(2), optimizer, w)
    after = optimizer.state_dict()
    assert before["state"].keys() == after["state"].keys()
    for index, entry in after["state"].items():
        assert entry.keys() == before["state"][index].keys()
        for tensor in entry.values():
            assert tensor.untyped_storage().nbytes() == tensor.nbytes  # a file of tensors takes no views

    def plain(value: Any) -> bool:
        if isinstance(value, list | tuple):
            return all(plain(item) for item in value)
        return value is None or isinstance(value, bool | int | float | str)

    assert all(plain(value) for group in after["param_groups"] for value in group.values())


@every_optimizer
def test_a_bad_value_is_refused(name: str) -> None:
    bad: dict[str, Any] = {
        "lr": -1.0,
        "weight_decay": -0.1,
        "l2": -0.1,
        "momentum": 1.0,
        "betas": [0.9, 1.0],
        "eps": -1.0,
        "gamma": 1.5,
        "rho": 1.0,
        "initial": -1.0,
        "damping": -1.0,
        "eps_mode": "beside",
    }
    known = OPTIMIZERS.parameters(name)
    for option, value in bad.items():
        if option in known:
            with pytest.raises(ConfigError, match=option):
                OPTIMIZERS.build(name, params=[nn.Parameter(torch.zeros(1))], **{option: value})
            with pytest.raises(ValueError, match=option):
                OPTIMIZERS.get(name)([nn.Parameter(torch.zeros(1))], **{option: value})
    if paths(name):
        with pytest.raises(ConfigError, match="implementation"):
            OPTIMIZERS.build(name, params=[nn.Parameter(torch.zeros(1))], implementation="fast")
    with pytest.raises(ConfigError, match="did you mean 'lr'"):
        OPTIMIZERS.build(name, params=[nn.Parameter(torch.zeros(1))], lrr=0.1)

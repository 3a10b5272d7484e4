"""Loss scaling, walked in step with torch's scaler, and the autocast context."""

import math
from typing import Any

import pytest
import torch
from torch import nn

from d2lcli.errors import CheckpointError, NonFiniteError
from d2lcli.training.precision import LossScaler, autocast

PATTERN = [0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0]  # 1: an overflow


def test_the_trace_equals_torchs() -> None:
    ours = LossScaler(scale=1024.0, growth_interval=3)
    theirs = torch.amp.GradScaler("cpu", init_scale=1024.0, growth_interval=3)
    pairs = [torch.nn.Parameter(torch.ones(3)) for _ in range(2)]
    optimizers = [torch.optim.SGD([param], lr=0.1) for param in pairs]
    scales = []
    for overflow in PATTERN:
        factor = math.inf if overflow else 1.0
        ours.scale((pairs[0] ** 2 * factor).sum()).backward()
        found = ours.unscale_([pairs[0]])
        if not found:
            optimizers[0].step()
        ours.update(found)
        theirs.scale((pairs[1] ** 2 * factor).sum()).backward()
        theirs.step(optimizers[1])
        theirs.update()
        assert found == bool(overflow)
        assert ours.value == theirs.get_scale()
        assert torch.equal(pairs[0], pairs[1])
        scales.append(ours.value)
        for optimizer in optimizers:
            optimizer.zero_grad()
    assert scales[:8] == [1024, 1024, 2048, 1024, 1024, 1024, 2048, 2048]


def test_unscaling_divides_every_gradient_and_finds_any_overflow() -> None:
    params = [
        nn.Parameter(torch.ones(2)),
        nn.Parameter(torch.ones(1, dtype=torch.float64)),
        nn.Parameter(torch.ones(1)),
    ]
    params[0].grad, params[1].grad = torch.full((2,), 8.0), torch.full((1,), 16.0, dtype=torch.float64)
    scaler = LossScaler(scale=8.0)
    assert not scaler.unscale_(iter(params))
    assert params[0].grad.tolist() == [1.0, 1.0] and params[1].grad.tolist() == [2.0] and params[2].grad is None
    params[1].grad[0] = math.nan
    assert scaler.unscale_(params)
    assert not LossScaler().unscale_([])


def test_a_scaler_continues_from_its_state() -> None:
    first, second = LossScaler(growth_interval=4), LossScaler(growth_interval=4)
    for overflow in PATTERN[:10]:
        first.update(bool(overflow))
    second.load(first.state())
    for overflow in PATTERN[10:]:
        first.update(bool(overflow))
        second.update(bool(overflow))
        assert first.state() == second.state()


def test_the_scale_has_a_ceiling_and_a_floor() -> None:
    scaler = LossScaler(scale=4.0, growth_interval=1, max_scale=10.0)
    scaler.update(False)
    scaler.update(False)
    assert scaler.value == 10.0
    with pytest.raises(NonFiniteError, match="not finite even with the loss scaled by"):
        for _ in range(100):
            scaler.update(True)


@pytest.mark.parametrize(
    "options",
    [{"scale": 0.0}, {"scale": math.inf}, {"growth_factor": 1.0}, {"backoff_factor": 1.0}, {"growth_interval": 0}],
)
def test_bad_options_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        LossScaler(**options)


@pytest.mark.parametrize(
    "state",
    [{}, {"scale": "1", "good_updates": 0}, {"scale": -1.0, "good_updates": 0}, {"scale": 1.0, "good_updates": 10**9},
     {"scale": math.nan, "good_updates": 0}],
)  # fmt: skip
def test_a_damaged_state_is_refused(state: dict[str, Any]) -> None:
    scaler = LossScaler()
    with pytest.raises(CheckpointError, match="loss scaler is damaged"):
        scaler.load(state)
    assert scaler.value == 65536.0


@pytest.mark.parametrize(("precision", "dtype"), [("bf16", torch.bfloat16), ("fp16", torch.float16)])
def test_autocast_computes_products_in_half_precision_and_keeps_the_weights(precision: str, dtype: torch.dtype) -> None:
    layer, cast = nn.Linear(3, 2), autocast("cpu", precision)
    for _ in range(2):
        with cast():
            assert layer(torch.ones(1, 3)).dtype == dtype
            with cast():
                assert layer(torch.ones(1, 3)).dtype == dtype
            assert layer(torch.ones(1, 3)).dtype == dtype
        assert layer(torch.ones(1, 3)).dtype == torch.float32
    assert layer.weight.dtype == torch.float32


def test_autocast_casts_a_shared_weight_once() -> None:
    layer = nn.Linear(3, 3)
    with torch.autograd.profiler.profile() as profile, autocast("cpu", "bf16")():
        layer(layer(layer(torch.ones(1, 3))))
    casts = sum(event.name == "aten::_to_copy" for event in profile.function_events)
    assert casts == 3  # the input, the weight, the bias


def test_full_precision_is_no_context() -> None:
    with autocast("cpu", "fp32")():
        assert nn.Linear(3, 2)(torch.ones(1, 3)).dtype == torch.float32
    with pytest.raises(ValueError, match="precision='int8' must be one of fp32, bf16, fp16"):
        autocast("cpu", "int8")

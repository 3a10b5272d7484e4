"""Data parallelism step by step in float64: the options of ddp, and batch norm over all processes."""

from typing import Any

import pytest
import torch
from group import run_cases
from steps import difference, numbers, train
from torch import Tensor, nn

from d2lcli.nn.sync_batch_norm import SyncBatchNorm
from d2lcli.parallel.ddp import DataParallel, ddp
from d2lcli.parallel.single import Single, single

SIZES = (8, 10, 9)  # at least two examples for each of four processes, which batch norm asks for
made: list[DataParallel] = []  # the group of this process, which can be joined but once


def begin() -> None:
    made.append(ddp())


def strategy(**options: Any) -> Single:
    """ddp with these options, in the group that was joined."""
    new = object.__new__(DataParallel)
    new.__dict__ |= made[0].__dict__ | options
    return new


def net(*layers: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 5), *layers, nn.Tanh(), nn.Linear(5, 3)).double()


def apart(chosen: Single, *layers: nn.Module, **how: Any) -> float:
    """How far three updates of a strategy are from those of one process.

    With sgd where there is batch norm: the gradient of a bias before it is 0 but for rounding, which Adam enlarges.
    """
    model, optim = net(*layers), {"optim": "sgd"} if layers else {}
    return difference(
        train(chosen, model, numbers(SIZES), **optim | how), train(single(), model, numbers(SIZES), **optim)
    )


def case_options() -> dict[str, float]:
    return {
        "plain": apart(strategy()),
        "accumulated": apart(strategy(), accumulate=2),
        "without overlap": apart(strategy(bucket_megabytes=1e9)),
        "ring": apart(strategy(all_reduce="ring")),
        "naive": apart(strategy(all_reduce="naive")),
        "fp16": apart(strategy(compression="fp16")),
    }


def case_sum() -> float:
    """A summed gradient under plain sgd is a mean one at as many times the learning rate; here beside the mean."""
    return apart(strategy(factor=float(made[0].world_size)), optim="sgd")


def case_overlap() -> bool:
    """Small pieces during the backward pass give the bits of one piece after it."""
    small = train(strategy(bucket_megabytes=1e-6), net(), numbers(SIZES))
    large = train(strategy(bucket_megabytes=1e9), net(), numbers(SIZES))
    return all(bool((small[name] == large[name]).all()) for name in small)


def case_batch_norm() -> dict[str, float]:
    synced, plain = strategy(sync_batch_norm=True), strategy()
    return {
        "synced": apart(synced, nn.BatchNorm1d(5)),
        "plain": apart(plain, nn.BatchNorm1d(5)),
        "momentum None": apart(synced, nn.BatchNorm1d(5, momentum=None)),
        "no statistics": apart(synced, nn.BatchNorm1d(5, affine=False, track_running_stats=False)),
    }


def case_images() -> dict[str, float]:
    """Outputs and gradients of (n, c, h, w), 3 and 2 or fewer images a process, in training; and an evaluation."""
    torch.manual_seed(2)
    images = torch.randn(5, 4, 3, 2, dtype=torch.float64)
    layer, ours = nn.BatchNorm2d(4).double(), SyncBatchNorm(4).double()
    pieces = images.tensor_split(made[0].world_size)
    whole, own = images.clone().requires_grad_(), pieces[made[0].rank].clone().requires_grad_()
    expected, found = layer(whole), ours(own)
    expected.pow(3).sum().backward()
    found.pow(3).sum().backward()
    assert whole.grad is not None and own.grad is not None

    def mine(tensor: Tensor) -> Tensor:
        return tensor.tensor_split(made[0].world_size)[made[0].rank]

    return {
        "outputs": float((found - mine(expected)).detach().abs().max()),
        "gradients": float((own.grad - mine(whole.grad)).abs().max()),
        "evaluation": float((ours.eval()(images) - layer.eval()(images)).abs().max()),
    }


def case_refused() -> list[str]:
    told = []
    for options in ({"compression": "bf16"}, {"all_reduce": "ring", "compression": "fp16"}):
        try:
            DataParallel.__init__(
                strategy(_join=lambda: None),  # type: ignore[arg-type]
                300.0,
                None,
                **{"bucket_megabytes": 25.0, "compression": "none", "all_reduce": "torch"}
                | options
                | {"reduction": "mean", "sync_batch_norm": False},
            )
        except ValueError as error:
            told.append(str(error))
    return told


@pytest.fixture(scope="module", params=[2, pytest.param(4, marks=pytest.mark.slow)])
def outcome(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Any]]:
    return run_cases(__file__, request.param, tmp_path_factory.mktemp("group"))


@pytest.mark.parametrize("name", ["plain", "accumulated", "without overlap", "ring", "naive"])
def test_three_updates_equal_those_of_one_process(outcome: dict[str, list[Any]], name: str) -> None:
    """Batches of 8, 10 and 9: uneven parts count by their examples."""
    assert all(0 <= found[name] < 1e-12 for found in outcome["options"])


def test_half_precision_rounds(outcome: dict[str, list[Any]]) -> None:
    assert all(1e-9 < found["fp16"] < 1e-2 for found in outcome["options"])


def test_a_sum_is_not_the_mean(outcome: dict[str, list[Any]]) -> None:
    assert all(found > 1e-3 for found in outcome["sum"])


def test_overlap_changes_no_bit(outcome: dict[str, list[Any]]) -> None:
    assert all(outcome["overlap"])


@pytest.mark.parametrize("name", ["synced", "momentum None", "no statistics"])
def test_batch_norm_over_all_processes_equals_one_large_batch(outcome: dict[str, list[Any]], name: str) -> None:
    """Weights and running statistics."""
    assert all(0 <= found[name] < 1e-12 for found in outcome["batch_norm"])


def test_plain_batch_norm_sees_its_own_examples(outcome: dict[str, list[Any]]) -> None:
    assert all(found["plain"] > 1e-3 for found in outcome["batch_norm"])


@pytest.mark.parametrize("name", ["outputs", "gradients", "evaluation"])
def test_batch_norm_of_images(outcome: dict[str, list[Any]], name: str) -> None:
    assert all(found[name] < 1e-12 for found in outcome["images"])


def test_options_that_need_gpus_are_refused(outcome: dict[str, list[Any]]) -> None:
    for bf16, ring in outcome["refused"]:
        assert "compression=bf16 needs NCCL" in bf16 and "fp16" in bf16
        assert "all_reduce=ring is for study" in ring

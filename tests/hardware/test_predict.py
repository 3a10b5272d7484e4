"""The operations of a step against what torch really calls, and the sum of their times against a sum by hand."""

from collections import Counter
from contextlib import nullcontext
from typing import Any

import pytest
import torch
from rows import rates
from torch import Tensor, nn

from d2lcli.hardware.operations import Operation, trace_step
from d2lcli.hardware.predict import predict
from d2lcli.hardware.rates import Rates
from d2lcli.registry import MODELS


class Real(torch.utils._python_dispatch.TorchDispatchMode):  # type: ignore[name-defined,misc]
    """Counts the operations of a step that is computed."""

    def __init__(self) -> None:
        super().__init__()
        self.names: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.names[func.overloadpacket.__name__] += 1
        return func(*args, **(kwargs or {}))


def cross_entropy(model: nn.Module, batch: tuple[Tensor, ...]) -> Tensor:
    outputs = model(batch[0])
    return nn.functional.cross_entropy(outputs.flatten(0, -2), batch[1].flatten())


IMAGES = (torch.zeros(2, 1, 28, 28), torch.zeros(2, dtype=torch.int64))
TOKENS = (torch.zeros(2, 4, dtype=torch.int64), torch.zeros(2, 4, dtype=torch.int64))
CASES: list[tuple[str, dict[str, Any], tuple[Tensor, ...]]] = [
    ("lenet", {}, IMAGES),
    ("resnet18", {"in_channels": 1, "num_classes": 10}, IMAGES),
    ("gpt_tiny", {"vocab_size": 8, "num_layers": 1}, TOKENS),
    ("rnn_lm", {"vocab_size": 8, "hidden_size": 4, "embed_dim": 4}, TOKENS),
]


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize(("name", "options", "batch"), CASES, ids=[case[0] for case in CASES])
def test_a_step_is_listed_as_torch_calls_it(
    name: str, options: dict[str, Any], batch: tuple[Tensor, ...], precision: str
) -> None:
    model = MODELS.build(name, **options)
    before = {key: value.clone() for key, value in model.state_dict().items()}

    def context() -> Any:
        return torch.autocast("cpu", torch.bfloat16) if precision == "bf16" else nullcontext()

    listed = Counter(found.name for found in trace_step(model, batch, cross_entropy, context))
    for key, value in model.state_dict().items():
        assert torch.equal(value, before[key])
    assert all(parameter.grad is None for parameter in model.parameters())
    with Real() as real:
        with context():
            loss = cross_entropy(model, batch)
        loss.backward()
    assert listed == real.names


def test_products_are_counted_twice_their_multiply_adds() -> None:
    model = nn.Linear(6, 5, bias=False)
    found = trace_step(model, (torch.zeros(4, 6),), lambda net, batch: net(batch[0]).sum())
    assert [operation.flops for operation in found if operation.flops] == [2 * 4 * 6 * 5] * 2  # ahead, and the weights
    assert [operation.backward for operation in found if operation.flops] == [False, True]


def test_a_step_that_looks_at_its_numbers_is_refused_in_words() -> None:
    def loss(model: nn.Module, batch: tuple[Tensor, ...]) -> Tensor:
        value: Tensor = model(batch[0]).sum()
        return value * 2 if value.item() > 0 else value

    with pytest.raises(ValueError, match="depends on the data itself"):
        trace_step(nn.Linear(2, 2), (torch.zeros(1, 2),), loss)


def operation(name: str, *shapes: tuple[int, ...], flops: int = 0, backward: bool = False) -> Operation:
    size = 4 * sum(torch.Size(shape).numel() for shape in shapes)
    return Operation(name, shapes, shapes[0], "fp32", size, flops, 1, view=name == "view", backward=backward)


def test_a_prediction_is_a_sum_over_operations() -> None:
    """At 1 GFLOP/s, 1 G numbers/s and 1 us a call, which is in the measured kernels and in the network's share."""
    step = [
        operation("mm", (100, 100), (100, 100), flops=2_000_000),  # 2 ms
        operation("view", (100, 100)),  # nothing
        operation("mul", (1000,), (1000,), (1000,)),  # 1 us
        operation("mm", (100, 100), (100, 100), flops=2_000_000, backward=True),  # 2 ms
    ]
    found = predict(step, Rates(rates(), "cpu"), parameters=10_000, tensors=2, state_tensors=2.0)
    assert found.forward == pytest.approx(2e-3 + 1e-6)
    assert found.backward == pytest.approx(2e-3)
    assert found.optimizer == pytest.approx(10e-6 + 2e-6)
    assert found.seconds == pytest.approx(found.forward + found.backward + found.optimizer)
    assert (found.operations, found.flops) == (3, 4_000_000)
    assert found.overhead == pytest.approx(3e-6)
    assert found.longest[0] == ("mm", pytest.approx(4e-3))


def test_an_update_of_several_batches_repeats_all_but_the_optimizer() -> None:
    step = [operation("mm", (10, 10), (10, 10), flops=2000)]
    one = predict(step, Rates(rates(), "cpu"), parameters=100, tensors=1)
    four = predict(step, Rates(rates(), "cpu"), parameters=100, tensors=1, accumulate=4)
    assert four.forward == pytest.approx(4 * one.forward)
    assert four.optimizer == one.optimizer


def test_tiny_operations_cost_their_calls() -> None:
    step = [operation("add", (1,), (1,), (1,)) for _ in range(50)]
    found = predict(step, Rates(rates(microseconds=5.0), "cpu"), parameters=0, tensors=0)
    assert found.seconds == pytest.approx(50 * 5e-6)


def test_measured_sizes_give_measured_rates_and_others_lie_between() -> None:
    rows = rates()
    slow = dict(rows[3], facts={"kind": "mm", "batch": 1, "m": 8, "k": 8, "n": 8}, high=1.0)
    fast = dict(rows[3], facts={"kind": "mm", "batch": 1, "m": 512, "k": 8, "n": 8}, high=100.0)
    found = Rates([*rows[:3], *rows[5:], slow, fast], "cpu")
    assert found.rate("mm", "fp32", (1, 8, 8, 8)) == pytest.approx(1e9)
    assert found.rate("mm", "fp32", (1, 512, 8, 8)) == pytest.approx(100e9)
    assert found.rate("mm", "fp32", (1, 64, 8, 8)) == pytest.approx(10e9)  # half way, in logarithms
    assert found.rate("mm", "bf16", (1, 8, 8, 8)) is None


@pytest.mark.parametrize("facts", [{"kind": "conv"}, {"kind": "mm", "batch": "x", "m": 1, "k": 1, "n": 1}, {"kind": 3}])
def test_damaged_rows_are_refused_in_words(facts: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="the profile is damaged"):
        Rates([*rates(), dict(rates()[3], facts=facts)], "cpu")


def test_without_calls_and_kernels_nothing_is_predicted() -> None:
    for rows in ([], rates()[:3], rates()[3:]):
        with pytest.raises(ValueError, match="launch and layers"):
            Rates(rows, "cpu")
    with pytest.raises(ValueError, match="launch and layers"):
        Rates(rates(), "cuda:0")

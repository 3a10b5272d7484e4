"""Whole networks: examples a second in training and inference, the parts of a step, and the share of the peak."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from d2lcli.hardware.bench import GIGA, Bench, Row
from d2lcli.hardware.compute import affordable, matmul
from d2lcli.hardware.measure import SYNCHRONIZE, Spread, spread
from d2lcli.registry import MODELS, OPTIMIZERS

TOPIC = "models"


@dataclass(frozen=True)
class Case:
    """A network and what it is fed with.

    Args:
        name: of the registry.
        options: of its builder.
        shape: of a batch of images, or of token numbers, which have two sizes.
        vocabulary: tokens or classes.
        quick: it is measured by `--quick` too.
    """

    name: str
    options: dict[str, Any]
    shape: tuple[int, ...]
    vocabulary: int
    quick: bool = True


CASES = (
    Case("mlp", {}, (256, 1, 28, 28), 10),
    Case("lenet", {}, (128, 1, 28, 28), 10),
    Case("resnet18", {"in_channels": 3, "num_classes": 10}, (32, 3, 32, 32), 10),
    Case("resnet18", {"in_channels": 3, "num_classes": 1000}, (8, 3, 224, 224), 1000, quick=False),
    Case("rnn_lm", {"vocab_size": 28, "cell": "gru"}, (32, 32), 28),
    Case("gpt_tiny", {"vocab_size": 28}, (16, 64), 28),
    Case("vit_ti_16", {}, (8, 3, 224, 224), 1000, quick=False),
)


def rows(bench: Bench) -> Iterator[Row | str]:
    """All figures of this topic."""
    if not bench.peak:
        matmul(bench, affordable(bench, "fp32"), "fp32")  # the peak that shares are of
    for case in CASES:
        if bench.quick and not case.quick:
            continue
        try:
            yield from _measure(bench, case)
        except torch.OutOfMemoryError:
            yield f"{case.name}: too large for this device"


def _measure(bench: Bench, case: Case) -> Iterator[Row]:
    model: nn.Module = MODELS.build(case.name, **case.options).to(bench.device)
    batch, targets = make_batch(case, bench.device)
    optimizer = OPTIMIZERS.build("sgd", params=list(model.parameters()), lr=1e-4)
    loss = loss_of(model, batch, targets)

    def step() -> None:
        loss().backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        optimizer.zero_grad()

    def infer() -> None:
        with torch.no_grad():
            model(batch)

    with FlopCounterMode(display=False) as counter:
        step()
    flops = counter.get_total_flops()
    sizes = " x ".join(map(str, case.shape))
    model.train()
    training = bench.time(step)
    facts: dict[str, float | str] = {
        "kind": "training", "model": case.name, "flops": flops, "batch": case.shape[0], "sizes": sizes,
        "seconds": training.median, "parameters": sum(parameter.numel() for parameter in model.parameters()),
    }  # fmt: skip
    note = _share(bench, flops / training.median)
    yield bench.row(TOPIC, f"{case.name}, training", training.rate(case.shape[0]), "examples/s", sizes=sizes,
                    note=note, facts=facts)  # fmt: skip
    parts = _parts(bench, loss, optimizer, training.n)
    whole = sum(figure.median for figure in parts.values())
    for part, figure in parts.items():
        share = figure.median / whole
        yield bench.row(TOPIC, f"{case.name}, {part}", figure.scaled(1000), "ms", sizes=sizes,
                        note=f"{share:.0%} of a step", facts={"kind": part, "model": case.name})  # fmt: skip
    model.eval()
    figure = bench.time(infer).rate(case.shape[0])
    facts = {"kind": "inference", "model": case.name, "flops": flops / 3, "batch": case.shape[0]}
    yield bench.row(TOPIC, f"{case.name}, inference", figure, "examples/s", sizes=sizes, facts=facts)


def make_batch(case: Case, device: torch.device) -> tuple[Tensor, Tensor]:
    """Random inputs, and as many targets as there are outputs."""
    if len(case.shape) == 2:
        tokens = torch.randint(0, case.vocabulary, (2, *case.shape), device=device)
        return tokens[0], tokens[1]
    return torch.randn(case.shape, device=device), torch.randint(0, case.vocabulary, case.shape[:1], device=device)


def loss_of(model: nn.Module, batch: Tensor, targets: Tensor) -> Callable[[], Tensor]:
    """The forward pass and the cross-entropy as a function."""

    def loss() -> Tensor:
        outputs = model(batch)
        return functional.cross_entropy(outputs.flatten(0, -2), targets.flatten())

    return loss


def _parts(
    bench: Bench, loss: Callable[[], Tensor], optimizer: torch.optim.Optimizer, repeats: int
) -> dict[str, Spread]:
    """Forward, backward and update within the same steps, each waited for."""
    wait = SYNCHRONIZE.get(bench.device.type, lambda: None)
    times: dict[str, list[float]] = {"forward": [], "backward": [], "optimizer": []}
    for _ in range(repeats):
        marks = [bench.clock()]
        value = loss()
        wait()
        marks.append(bench.clock())
        value.backward()  # type: ignore[no-untyped-call]
        wait()
        marks.append(bench.clock())
        optimizer.step()
        optimizer.zero_grad()
        wait()
        marks.append(bench.clock())
        for part, start, end in zip(times, marks, marks[1:]):
            times[part].append(end - start)
    return {part: spread(values) for part, values in times.items()}


def _share(bench: Bench, flops_per_second: float) -> str:
    peak = bench.peak.get("fp32")
    if not peak:
        return ""
    return f"{flops_per_second / GIGA:.3g} GFLOP/s, {flops_per_second / GIGA / peak:.0%} of the measured peak"

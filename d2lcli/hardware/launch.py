"""What an operation costs beside its arithmetic: calls, gradients, asynchrony; what a compiler saves (d2l 13)."""

import time
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from d2lcli.hardware.bench import Bench, Row
from d2lcli.hardware.measure import exactly
from d2lcli.hardware.operations import trace_step

TOPIC = "launch"
DEPTH = 64  # operations in a row, so that what stands around them hardly counts


def rows(bench: Bench) -> Iterator[Row | str]:
    """All figures of this topic."""
    yield from _operations(bench)
    yield from _gradients(bench)
    yield from _network(bench)
    yield from _asynchrony(bench)
    yield from _compiled(bench)


def _repeated(function: Callable[[], object]) -> Callable[[], None]:
    def repeat() -> None:
        for _ in range(DEPTH):
            function()

    return repeat


def _operations(bench: Bench) -> Iterator[Row]:
    """Of tensors of one number: there is next to nothing to compute."""
    x = bench.random(1)
    layer = nn.Identity().to(bench.device)
    cases: dict[str, tuple[str, Callable[[], object]]] = {
        "call of a Python function": ("call", lambda: None),
        "call of a layer that does nothing": ("module", lambda: layer(x)),
        "operation: add two numbers": ("operation", lambda: torch.add(x, x)),
        "view: no data is touched": ("view", lambda: x.view(1)),
    }
    with torch.no_grad():
        for what, (kind, function) in cases.items():
            figure = bench.time(_repeated(function)).scaled(1e6 / DEPTH)
            source = "10 on a GPU" if kind == "operation" else ""
            yield bench.row(TOPIC, what, figure, "us", sizes="1 number", source=source, facts={"kind": f"{kind} call"})


def _gradients(bench: Bench) -> Iterator[Row]:
    """The same in training: each operation is noted on the way forward, and answered on the way back."""
    x = bench.random(1).requires_grad_()
    scale = bench.random(1)

    def forward() -> Tensor:
        y = x
        for _ in range(DEPTH):
            y = torch.mul(y, scale)
        return y

    ahead = bench.time(forward)
    both = bench.time(lambda: torch.autograd.grad(forward(), x))
    for what, kind, figure in (
        ("operation in training, forward", "forward call", ahead),
        ("operation in training, both ways", "both calls", both),
    ):
        yield bench.row(TOPIC, what, figure.scaled(1e6 / DEPTH), "us", sizes="1 number", facts={"kind": kind})


class _Small(nn.Module):
    """x + W_2 gelu(W_1 norm(x)): seven kernels ahead and as many back of so few numbers that only the calls count."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm, self.ahead, self.back = nn.LayerNorm(width), nn.Linear(width, width), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = x + self.back(nn.functional.gelu(self.ahead(self.norm(x))))
        return y


def _network(bench: Bench) -> Iterator[Row]:
    """An operation with all that surrounds it in a network: its share of layers, views and autograd."""
    net = nn.Sequential(*(_Small(8) for _ in range(16))).to(bench.device)
    x = bench.random(2, 8)
    kernels = [found for found in trace_step(net, (x,), _mean) if not found.view]
    back = sum(found.backward for found in kernels)
    ahead = bench.time(lambda: _mean(net, (x,)))
    both = bench.time(lambda: torch.autograd.grad(_mean(net, (x,)), list(net.parameters())))
    for what, kind, figure, count in (
        ("operation in a network, forward", "forward", ahead, len(kernels) - back),
        ("operation in a network, both ways", "both", both, len(kernels)),
    ):
        facts: dict[str, float | str] = {"kind": f"network {kind}", "kernels": count, "backward": back}
        yield bench.row(TOPIC, what, figure.scaled(1e6 / count), "us", sizes=f"{count} kernels", facts=facts)


def _mean(model: nn.Module, batch: tuple[Tensor, ...]) -> Tensor:
    mean: Tensor = model(batch[0]).mean()
    return mean


def _asynchrony(bench: Bench) -> Iterator[Row | str]:
    """When a call returns, and when its work is done: on a GPU that is not the same."""
    if not bench.on_gpu:
        yield "asynchrony: there is none on a CPU, where a call returns when its work is done"
        return
    a = bench.random(4096, 4096)
    returned, done = [], []
    for _ in range(20):
        torch.cuda.synchronize()
        start = time.perf_counter()
        torch.mm(a, a)
        returned.append(time.perf_counter() - start)
        torch.cuda.synchronize()
        done.append(time.perf_counter() - start)
    for what, times in (("matrix product: the call returns", returned), ("matrix product: it is done", done)):
        figure = exactly(sorted(times)[len(times) // 2] * 1e6)
        yield bench.row(TOPIC, what, figure, "us", sizes="4096 x 4096", note="median of 20")


def _compiled(bench: Bench) -> Iterator[Row | str]:
    """A network of small operations as Python runs it and compiled; the book's torch.jit.script is out of use."""
    if bench.quick:
        yield "torch.compile: left out by --quick, compiling takes half a minute"
        return
    net = nn.Sequential(*(nn.Sequential(nn.Linear(128, 128), nn.GELU(), nn.LayerNorm(128)) for _ in range(4)))
    net, x = net.to(bench.device), bench.random(64, 128)
    with torch.no_grad():
        figure = bench.time(lambda: net(x)).scaled(1e6)
        yield bench.row(TOPIC, "small network, as it is", figure, "us", sizes="batch 64, 128 wide")
        compiled = torch.compile(net)
        start = time.perf_counter()
        if reason := bench.refused(lambda: compiled(x)):
            yield f"torch.compile: not on this machine ({reason})"
            return
        note = f"compiling took {time.perf_counter() - start:.0f} s"
        figure = bench.time(lambda: compiled(x)).scaled(1e6)
        yield bench.row(TOPIC, "small network, compiled", figure, "us", sizes="batch 64, 128 wide", note=note)

"""One to N processes that train together: how much faster than one, and what they spend on talking (d2l 13.5)."""

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from d2lcli.hardware.bench import Bench, Row
from d2lcli.hardware.measure import Spread, spread
from d2lcli.hardware.processes import run_processes

TOPIC = "scaling"
WIDTH, LAYERS = 1024, 3
WORK = 256  # examples of the whole step (strong), or of each process (weak)
WARM_UP = 3
REPEATS = {True: 8, False: 30}


def rows(bench: Bench) -> Iterator[Row | str]:
    """Strong scaling shares a fixed batch, weak scaling gives each process a batch of its own."""
    counts = [n for n in (1, 2, 4, 8, 16, 32) if n < bench.processes] + [bench.processes]
    if bench.processes < 2:
        yield "scaling: needs more than one process; more with --cpus N or --gpus N"
        return
    alone = 0.0
    for ranks in counts:
        found = run_processes("scaling", ranks, {"repeats": REPEATS[bench.quick]}, on_gpu=bench.on_gpu)
        for way in ("strong", "weak") if ranks > 1 else ("strong",):
            times = Spread(**found[way])
            alone = alone or times.median
            work = WORK if way == "strong" else WORK * ranks
            over = ranks > (torch.cuda.device_count() if bench.on_gpu else bench.cores)
            note = "oversubscribed" if over else f"efficiency {efficiency(alone, times.median, ranks, way):.0%}"
            if ranks == 1:
                note = "what the others are compared with"
            elif not over:
                note += f", communication {found[f'{way}_talk']:.0%}"
            facts: dict[str, float | str] = {"kind": way, "ranks": ranks, "seconds": times.median}
            what = f"training, {way} scaling" if ranks > 1 else "training alone"
            yield bench.row(
                TOPIC, what, times.rate(work), "examples/s", note=note, facts=facts,
                sizes=f"{work} examples, {LAYERS} layers of {WIDTH}", workers=f"{ranks} rank{'s' if ranks > 1 else ''}",
            )  # fmt: skip


def efficiency(alone: float, together: float, ranks: int, way: str) -> float:
    """The time of one process alone over that of n with n times the hardware.

    Args:
        alone: seconds of one process, without anything that several need.
        together: seconds of a step of n.
        ranks: n.
        way: "strong", the same work in all, or "weak", the same work for each.
    """
    return alone / together / (ranks if way == "strong" else 1)


def job(device: torch.device, options: dict[str, Any]) -> dict[str, Any]:
    """In each process: steps of a network, alone without torch's wrapper, else with it and once without talking."""
    ranks = dist.get_world_size()
    torch.manual_seed(0)
    net = nn.Sequential(*(nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.ReLU()) for _ in range(LAYERS))).to(device)
    module: nn.Module = DistributedDataParallel(net) if ranks > 1 else net
    found: dict[str, Any] = {}
    for way, examples in (("strong", max(1, WORK // ranks)), ("weak", WORK)) if ranks > 1 else (("strong", WORK),):
        x = torch.randn(examples, WIDTH, device=device)
        times = _steps(lambda x=x: _step(module, x), options["repeats"], device)  # type: ignore[misc]
        quiet = _steps(lambda x=x: _step(net, x), options["repeats"], device)  # type: ignore[misc]
        found[way] = asdict(times)
        found[f"{way}_talk"] = max(0.0, 1 - quiet.median / times.median)
    return found


def _step(module: nn.Module, x: torch.Tensor) -> None:
    module(x).square().mean().backward()
    for parameter in module.parameters():
        parameter.grad = None


def _steps(step: Callable[[], None], repeats: int, device: torch.device) -> Spread:
    """The slowest rank's time of each repeat."""
    times = []
    for _ in range(WARM_UP + repeats):
        dist.barrier()
        start = time.perf_counter()
        step()
        if device.type == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    slowest = torch.tensor(times[WARM_UP:], dtype=torch.float64, device=device)
    dist.all_reduce(slowest, dist.ReduceOp.MAX)
    return spread(slowest.tolist())

"""Collectives between processes: torch's own, and all-reduce written out, naive and as a ring (d2l 13.5, 13.7).

Legend: n ranks, S bytes of the whole array.  The bandwidths are those of nccl-tests: algbw = S / t, busbw = algbw times
what a link must carry at least: 2 (n - 1) / n for an all-reduce, (n - 1) / n for an all-gather or a reduce-scatter.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from d2lcli.hardware.bench import GIGA, Bench, Row
from d2lcli.hardware.measure import Spread, spread
from d2lcli.hardware.processes import run_processes

TOPIC = "collectives"
SIZES = {True: (1 << 10, 1 << 20, 1 << 24), False: tuple(1 << power for power in range(10, 27, 2))}
WARM_UP = 5
ROUNDS = 4  # over all sizes, as in `d2lcli.hardware.run`
REPEATS = {True: 3, False: 5}  # in a round; small arrays are sent more often, as their times vary more
MORE, SMALL = 8, 1 << 20


def bus_factor(collective: str, ranks: int) -> float:
    """busbw / algbw."""
    once = (ranks - 1) / ranks
    return 2 * once if "all_reduce" in collective else once


def naive_all_reduce(x: Tensor) -> None:
    """Everybody sends to rank 0, which adds and sends the sum back: 2 (n - 1) S through one link."""
    rank, ranks = dist.get_rank(), dist.get_world_size()
    if rank:
        dist.send(x, 0)
        dist.recv(x, 0)
        return
    other = torch.empty_like(x)
    for sender in range(1, ranks):
        dist.recv(other, sender)
        x.add_(other)
    for receiver in range(1, ranks):
        dist.send(x, receiver)


def ring_all_reduce(x: Tensor) -> None:
    """n chunks go round twice: once adding up, once to be known to all.  Each link carries 2 (n - 1) / n S."""
    rank, ranks = dist.get_rank(), dist.get_world_size()
    chunks = list(x.view(-1).tensor_split(ranks))
    after, before = (rank + 1) % ranks, (rank - 1) % ranks
    for step in range(2 * (ranks - 1)):
        sent, received = chunks[(rank - step) % ranks], chunks[(rank - step - 1) % ranks]
        arriving = torch.empty_like(received)
        waiting = dist.batch_isend_irecv(
            [dist.P2POp(dist.isend, sent, after), dist.P2POp(dist.irecv, arriving, before)]
        )
        for request in waiting:
            request.wait()
        received.add_(arriving) if step < ranks - 1 else received.copy_(arriving)


def collectives(x: Tensor) -> dict[str, Callable[[], object]]:
    """Each as a function of an array of S bytes that every rank has, in `x` or gathered there."""
    ranks, rank = dist.get_world_size(), dist.get_rank()
    parts = list(x.chunk(ranks))
    own = parts[rank].clone()
    whole = x.clone()
    return {
        "all_reduce": lambda: dist.all_reduce(x),
        "all_reduce, naive": lambda: naive_all_reduce(x),
        "all_reduce, ring": lambda: ring_all_reduce(x),
        "all_gather": lambda: dist.all_gather(parts, own),
        "reduce_scatter": lambda: dist.reduce_scatter(own, list(whole.chunk(ranks))),
    }


def job(device: torch.device, options: dict[str, Any]) -> list[dict[str, Any]]:
    """In each process: the slowest rank's time of every repeat, and how many of our own sums are wrong."""
    ranks = dist.get_world_size()
    wrong = {
        size: count_wrong(max(4 * ranks, min(size, 1 << 16) // 4), device) for size in options["sizes"]
    }  # fmt: skip
    found: dict[tuple[int, str], Spread] = {}
    for _ in range(ROUNDS):
        for size in options["sizes"]:
            x = torch.zeros(max(1, size // 4 // ranks) * ranks, device=device)
            repeats = options["repeats"] * (MORE if size <= SMALL else 1)
            for name, function in collectives(x).items():
                times = spread(_slowest([_timed(function, device) for _ in range(WARM_UP + repeats)][WARM_UP:], device))
                key = (size, name)
                found[key] = found[key].joined(times) if key in found else times
    return [
        {"name": name, "bytes": max(1, size // 4 // ranks) * ranks * 4, "wrong": wrong[size], "times": asdict(times)}
        for (size, name), times in found.items()
    ]


def _slowest(times: list[float], device: torch.device) -> list[float]:
    """The longest time that any rank had of each repeat."""
    slowest = torch.tensor(times, dtype=torch.float64, device=device)
    dist.all_reduce(slowest, dist.ReduceOp.MAX)
    found: list[float] = slowest.tolist()
    return found


def count_wrong(numbers: int, device: torch.device) -> int:
    """How many of the sums of our two all-reduces differ from torch's, for integers, whose sums are exact."""
    rank = dist.get_rank()
    mine = torch.arange(numbers, device=device, dtype=torch.float32).remainder_(1000) * (rank + 1)
    expected = mine.clone()
    dist.all_reduce(expected)
    wrong = 0
    for ours in (naive_all_reduce, ring_all_reduce):
        x = mine.clone()
        ours(x)
        wrong += int((x != expected).sum())
    total = torch.tensor(wrong, device=device)
    dist.all_reduce(total)
    return int(total)


def _timed(function: Callable[[], object], device: torch.device) -> float:
    dist.barrier()
    start = time.perf_counter()
    function()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def rows(bench: Bench) -> Iterator[Row | str]:
    """All figures of this topic."""
    ranks = bench.processes
    if ranks < 2:
        yield "collectives: one process has nobody to talk to; more with --cpus N or --gpus N"
        return
    options = {"sizes": SIZES[bench.quick], "repeats": REPEATS[bench.quick]}
    where = "" if bench.on_gpu else " (shared-memory loopback)"
    backend = "nccl" if bench.on_gpu else "gloo"
    for found in run_processes("collectives", ranks, options, on_gpu=bench.on_gpu):
        size, name = found["bytes"], found["name"]
        algorithm = Spread(**found["times"]).rate(size / GIGA)
        bus = algorithm.median * bus_factor(name, ranks)
        notes = [f"bus {bus:.3g} GB/s{where}", f"{found['wrong']} wrong"]
        notes += ["oversubscribed"] if bench.oversubscribed else []
        facts: dict[str, float | str] = {
            "kind": "collective", "name": name, "bytes": size, "ranks": ranks, "bus": bus, "wrong": found["wrong"],
            "seconds": found["times"]["median"],
        }  # fmt: skip
        yield bench.row(
            TOPIC, f"{name}, {backend}", algorithm, "GB/s", sizes=f"{size >> 10:,} KiB", workers=f"{ranks} ranks",
            note=", ".join(notes), facts=facts,
        )  # fmt: skip

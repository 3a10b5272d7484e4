"""What machines that are not here would take, by formula: every row is a MODEL, with its inputs (d2l 13.5, 13.7).

Legend: n ranks, S bytes, B bytes a second of a link in one direction, alpha seconds until a message begins to arrive.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from d2lcli.hardware.bench import Row
from d2lcli.hardware.measure import exactly

TOPIC = "simulate"
MEGA = 1e6
MODEL = "MODEL"
PCIE_SOURCE = {"all to one GPU": "60 ms", "all to the CPU": "80 ms", "each adds one part": "15 ms"}


@dataclass(frozen=True)
class Link:
    """One direction of a connection.

    Args:
        name: of the kind.
        bandwidth: B.
        alpha: seconds; 0 leaves the latency out, as the book does.
    """

    name: str
    bandwidth: float
    alpha: float = 0.0


# d2l 13.3 and 13.7.  Of PCIe the book computes with 16 GB/s, which is version 3; version 4 has 32 in each direction.
NVLINK = Link("3 NVLinks of a V100", 3 * 18e9)
PCIE3 = Link("PCIe 3.0 x16", 16e9)
PCIE4 = Link("PCIe 4.0 x16", 32e9)
ETHERNET = Link("100 Gbit Ethernet", 10e9, 20e-6)
LINKS = {"nvlink": NVLINK, "pcie3": PCIE3, "pcie4": PCIE4, "ethernet": ETHERNET}


def ring(n: int, size: float, link: Link) -> float:
    """All-reduce on a ring, Gibiansky (2017): 2 (n - 1) alpha + 2 (n - 1) / n S / B."""
    return 2 * (n - 1) * link.alpha + 2 * (n - 1) / n * size / link.bandwidth


def ring_of_many(size: float, link: Link) -> float:
    """The same as the book writes it, for n without end and no latency: 2 S / B."""
    return 2 * size / link.bandwidth


def tree(n: int, size: float, link: Link) -> float:
    """Up a binary tree and down again: 2 log2(n) (alpha + S / B), each level waiting for the one below."""
    return 2 * math.ceil(math.log2(n)) * (link.alpha + size / link.bandwidth)


def naive(n: int, size: float, link: Link) -> float:
    """All to one and back, one after the other: 2 (n - 1) (alpha + S / B)."""
    return 2 * (n - 1) * (link.alpha + size / link.bandwidth)


def parameter_server(workers: int, servers: int, size: float, link: Link) -> float:
    """m workers push to n servers, each of which holds S / n, and pull: 2 m / n S / B, so O(m / n)."""
    return 2 * (link.alpha + workers / servers * size / link.bandwidth)


def pcie(gpus: int, size: float, link: Link) -> dict[str, float]:
    """The book's three ways to add the gradients of GPUs behind one PCIe switch, by their names.

    To one GPU: the others' arrive one after the other.  To the CPU: all of them do.  In parts: each GPU adds one part,
    all at the same time, and sends it to all others.
    """
    once = size / link.bandwidth
    return {
        "all to one GPU": 2 * (gpus - 1) * once,
        "all to the CPU": 2 * gpus * once,
        "each adds one part": 2 * (gpus - 1) / gpus * once,
    }


def step(compute: float, ranks: int, size: float, link: Link, overlap: float = 0.0) -> float:
    """Seconds of a data-parallel training step: compute / n, then a ring, part of which hides behind the computing.

    Args:
        compute: seconds of the whole batch on one device.
        ranks: n.
        size: bytes of the gradients.
        link: between neighbours.
        overlap: the share of the computing, at most that of the backward pass, that may hide communication.
    """
    alone = compute / ranks
    return alone + max(0.0, ring(ranks, size, link) - overlap * alone)


def rows(ranks: int, steps: Sequence[Mapping[str, Any]]) -> Iterator[Row | str]:
    """The book's numbers, then `ranks` devices of this kind on each link.

    Args:
        ranks: devices to pretend.
        steps: the facts of training steps that were measured on one device: model, sizes, seconds, parameters.
    """
    size = 160 * MEGA
    yield _row("ring all-reduce of many: 2 S / B", ring_of_many(size, NVLINK), 8, size, NVLINK, "about 6 ms")
    yield _row("ring all-reduce: 2 (n - 1) / n S / B", ring(8, size, NVLINK), 8, size, NVLINK)
    for what, seconds in pcie(4, size, PCIE3).items():
        yield _row(f"PCIe: {what}", seconds, 4, size, PCIE3, PCIE_SOURCE[what])
    for servers in sorted({1, ranks}):
        seconds = parameter_server(ranks, servers, size, ETHERNET)
        yield _row(f"parameter server: {ranks} workers, servers: {servers}", seconds, ranks, size, ETHERNET, "O(m / n)")
    for link in LINKS.values():
        for what, formula in (("ring", ring), ("tree", tree), ("naive", naive)):
            yield _row(f"{what} all-reduce", formula(ranks, size, link), ranks, size, link)
    if not steps:
        yield "training steps: no profile of this machine holds a measured one; measure one: d2l bench models"
    for found in steps:
        gradients = 4 * found["parameters"]
        for link in (NVLINK, PCIE4):
            seconds = step(found["seconds"], ranks, gradients, link)
            alone = f"one device {found['seconds'] * 1e3:.3g} ms, measured"
            note = f"{alone}; {found['seconds'] / seconds:.2f} times as fast"
            yield _row(f"training {found['model']} on {found['sizes']}", seconds, ranks, gradients, link, note=note)


def _row(what: str, seconds: float, ranks: int, size: float, link: Link, source: str = "", note: str = "") -> Row:
    speed = f"B = {link.bandwidth / 1e9:g} GB/s, alpha = {link.alpha * 1e6:g} us"
    inputs = f"{link.name}, S = {size / MEGA:,.4g} MB, {speed}"
    return Row(
        TOPIC, f"{MODEL} {what}", exactly(seconds * 1000), "ms", workers=f"{ranks} ranks", dtype="fp32", sizes=inputs,
        device=MODEL, source=source, note=note, model=True,
        facts={"kind": "model", "seconds": seconds, "ranks": ranks, "bytes": size, "bandwidth": link.bandwidth,
               "alpha": link.alpha},
    )  # fmt: skip

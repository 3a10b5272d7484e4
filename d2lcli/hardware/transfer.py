"""Copies between host and device and between devices: pinned or not, waited for or overlapped (d2l 13.3)."""

from collections.abc import Callable, Iterator

import torch

from d2lcli.hardware.bench import GIGA, Bench, Row

TOPIC = "transfer"
SIZES = {True: (1 << 16, 1 << 26), False: (1 << 12, 1 << 16, 1 << 20, 1 << 24, 1 << 28)}
PCIE, NVLINK = "32 a direction (PCIe 4.0 x16)", "18 a direction (one NVLink of a V100)"


def rows(bench: Bench) -> Iterator[Row | str]:
    """All figures of this topic."""
    if not bench.on_gpu:
        yield "transfer: there is no GPU to copy to; the CPU's own copies stand under memory"
        return
    for size in SIZES[bench.quick]:
        yield from _host_and_device(bench, size)
    yield from _overlap(bench)
    yield from _peers(bench)


def _row(bench: Bench, what: str, size: int, function: Callable[[], object], source: str) -> Row:
    figure = bench.time(function).rate(size / GIGA)
    facts: dict[str, float | str] = {"kind": "transfer", "what": what, "bytes": size}
    return bench.row(
        TOPIC, what, figure, "GB/s", dtype="bytes", sizes=f"{size >> 10:,} KiB", source=source, facts=facts
    )


def _host_and_device(bench: Bench, size: int) -> Iterator[Row]:
    """Pinned memory is copied by the GPU itself; other memory goes through a pinned buffer first."""
    there = torch.randint(0, 256, (size,), dtype=torch.uint8, device=bench.device)
    for pinned in (False, True):
        here = torch.empty(size, dtype=torch.uint8, pin_memory=pinned).fill_(1)
        kind = "pinned" if pinned else "pageable"

        def to_device(here: torch.Tensor = here, pinned: bool = pinned) -> None:
            there.copy_(here, non_blocking=pinned)

        def to_host(here: torch.Tensor = here, pinned: bool = pinned) -> None:
            here.copy_(there, non_blocking=pinned)

        yield _row(bench, f"host to device, {kind}", size, to_device, PCIE)
        yield _row(bench, f"device to host, {kind}", size, to_host, PCIE)


def _overlap(bench: Bench) -> Iterator[Row]:
    """A copy and a matrix product one after the other, and side by side in two streams: at best the longer one."""
    here = torch.empty(1 << 26, dtype=torch.uint8).pin_memory()
    there = torch.empty(1 << 26, dtype=torch.uint8, device=bench.device)
    a = bench.random(4096, 4096)
    product = torch.empty_like(a)
    main, side = torch.cuda.current_stream(), torch.cuda.Stream()  # type: ignore[no-untyped-call]

    def copy() -> None:
        there.copy_(here, non_blocking=True)

    def compute() -> None:
        torch.mm(a, a, out=product)

    def one_by_one() -> None:
        copy()
        compute()

    def together() -> None:
        side.wait_stream(main)
        with torch.cuda.stream(side):
            copy()
        compute()
        main.wait_stream(side)

    ways = {"copy alone": copy, "product alone": compute, "one by one": one_by_one, "overlapped": together}
    for what, function in ways.items():
        figure = bench.time(function).scaled(1000)
        yield bench.row(TOPIC, f"copy and compute: {what}", figure, "ms", sizes="64 MiB, 4096 x 4096",
                        facts={"kind": "overlap", "what": what})  # fmt: skip


def _peers(bench: Bench) -> Iterator[Row | str]:
    count = torch.cuda.device_count()
    if count < 2:
        yield "copies between GPUs: there is only one"
        return
    size = SIZES[bench.quick][-1]
    first = torch.empty(size, dtype=torch.uint8, device="cuda:0").fill_(1)
    for index in range(1, count):
        other = torch.empty(size, dtype=torch.uint8, device=f"cuda:{index}")
        direct = torch.cuda.can_device_access_peer(0, index)

        def copy(other: torch.Tensor = other) -> None:
            other.copy_(first, non_blocking=True)

        yield _row(bench, f"GPU 0 to {index}, {'direct' if direct else 'through the host'}", size, copy, NVLINK)

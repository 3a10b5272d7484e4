"""Bytes a second, as STREAM counts them (McCalpin, 1995), and nanoseconds of a load by working set (d2l 13.4)."""

from collections.abc import Callable, Iterator

import psutil
import torch

from d2lcli.hardware.bench import GIGA, Bench, Row
from d2lcli.hardware.machine import cache_sizes
from d2lcli.hardware.native import Chain, make_chain, probes

TOPIC = "memory"
TIMES_CACHE = 4  # arrays are so many times the last cache, or part of them would stay in it
LARGEST_SHARE = 1 / 16  # of the memory that is free: there are three arrays, and others want memory too
UNKNOWN_CACHE = 32 << 20
STEPS = 20_000  # loads of a sample
SOURCE = {1: "1.5", 2: "5", 3: "16-40", 4: "46-120"}
MEMORY = 4  # the level behind the caches


def rows(bench: Bench) -> Iterator[Row | str]:
    """All figures of this topic."""
    yield from _stream(bench)
    if not bench.on_gpu:
        yield from _latency(bench)


def array_bytes(on_gpu: bool) -> int:
    """Of one array: four times the last cache, as far as the memory allows."""
    last = max(cache_sizes().values(), default=UNKNOWN_CACHE)
    free = psutil.virtual_memory().available
    if on_gpu:
        properties = torch.cuda.get_device_properties(torch.cuda.current_device())
        last, free = properties.L2_cache_size, torch.cuda.mem_get_info()[0]
    return int(min(max(TIMES_CACHE * last, 64 << 20), free * LARGEST_SHARE)) // 4096 * 4096


def kernels(size: int, device: torch.device) -> dict[str, tuple[Callable[[], object], int]]:
    """The four kernels on arrays of `size` bytes, and what each moves; lines read before a write do not count.

    copy c = a, scale b = 3 c, add c = a + b, triad a = b + 3 c.
    """
    a, b, c = (torch.rand(size // 4, device=device) for _ in range(3))
    return {
        "copy": (lambda: c.copy_(a), 2 * size),
        "scale": (lambda: torch.mul(c, 3.0, out=b), 2 * size),
        "add": (lambda: torch.add(a, b, out=c), 3 * size),
        "triad": (lambda: torch.add(b, c, alpha=3.0, out=a), 3 * size),
    }


def _stream(bench: Bench) -> Iterator[Row]:
    size = array_bytes(bench.on_gpu)
    last = max(cache_sizes().values(), default=0)
    small = "" if bench.on_gpu or size >= TIMES_CACHE * last else "smaller than 4 x the last cache: memory is short"
    for name, (kernel, moved) in kernels(size, bench.device).items():
        figure = bench.time(kernel).rate(moved / GIGA)
        source = "500+" if bench.on_gpu else "20-100"
        facts: dict[str, float | str] = {"kind": "bandwidth", "bytes": size}
        yield bench.row(
            TOPIC, name, figure, "GB/s", sizes=f"{size >> 20} MiB arrays", source=source, note=small, facts=facts
        )


def _latency(bench: Bench) -> Iterator[Row | str]:
    native = probes()
    if native is None:
        yield "latency of a load: not measured, there is no C compiler (cc, gcc or clang)"
        return
    caches = cache_sizes()
    for size in working_sets(caches, bench.quick):
        chain = make_chain(size)
        place = native.chase(chain, 0, chain.size // 8)  # once through all of it

        def walk(chain: Chain = chain) -> None:
            nonlocal place  # on from where the last sample ended, or all samples would find their lines in a cache
            place = native.chase(chain, place, STEPS)

        figure = bench.time(walk).scaled(1e9 / STEPS)
        level = level_of(size, caches)
        where = f"L{level}" if level < MEMORY else "memory"
        yield bench.row(
            TOPIC, f"dependent load, {where}", figure, "ns", dtype="8 bytes", workers="1 thread", source=SOURCE[level],
            sizes=f"{size >> 10:,} KiB", note="with misses of the address translation" if level >= 3 else "",
            facts={"kind": "latency", "bytes": size, "level": level},
        )  # fmt: skip


def level_of(size: int, caches: dict[int, int]) -> int:
    """The fastest level that a working set of so many bytes fits into; 4 is memory, unknown caches are no levels."""
    return next((level for level, capacity in sorted(caches.items()) if size <= capacity), MEMORY)


def working_sets(caches: dict[int, int], quick: bool) -> list[int]:
    """Half of each cache, and four times the last, as far as it may be; more between them where there is time."""
    last = max(caches.values(), default=UNKNOWN_CACHE)
    most = min(TIMES_CACHE * last, int(psutil.virtual_memory().available * LARGEST_SHARE))
    if quick:
        return sorted({*(size // 2 for size in caches.values()), most})
    return [1 << power for power in range(13, most.bit_length())]

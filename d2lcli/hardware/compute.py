"""Multiply-adds a second: matrix products by size and type, in the book's four ways, and by batch (d2l 12.5, 13.4)."""

import functools
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor

from d2lcli.hardware.bench import GIGA, Bench, Row
from d2lcli.hardware.native import probes

TOPIC = "compute"
SQUARES = {True: (128, 256, 512, 1024), False: (64, 128, 256, 512, 1024, 2048, 4096)}
LARGE = {True: 1024, False: 2048}  # where the types are compared
GPU_SQUARES = {True: (1024, 4096, 8192), False: (256, 512, 1024, 2048, 4096, 8192, 16384)}
GPU_LARGE = 8192
BATCHES = {True: (1, 8, 64, 512), False: (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)}
SIDE, BLOCK = 256, 64  # of the book's matrices
SOURCE = {"element": "0.013", "column": "0.159", "block": "1.258", "whole": "3.2"}
ELEMENTS = 16  # rows of the result that are computed element by element: the rest would take as long each
CHAIN = 1_000_000  # multiply-adds of each register


def rows(bench: Bench) -> Iterator[Row | str]:
    """All figures of this topic."""
    yield from registers(bench)
    for n in (GPU_SQUARES if bench.on_gpu else SQUARES)[bench.quick]:
        yield matmul(bench, n, "fp32")
    for dtype in ("fp64", "bf16", "fp16", "int8"):
        yield matmul(bench, affordable(bench, dtype), dtype)
    yield from _four_ways(bench)
    for batch in BATCHES[bench.quick]:
        yield _layer(bench, batch)


def product(bench: Bench, n: int, dtype: str) -> Callable[[], Tensor]:
    """The product of two random n x n matrices as a function."""
    a, b = bench.random(n, n, dtype=dtype), bench.random(n, n, dtype=dtype)
    if dtype == "int8":
        return functools.partial(torch._int_mm, a, b)
    return functools.partial(torch.mm, a, b, out=torch.empty_like(a))


def affordable(bench: Bench, dtype: str) -> int:
    """The largest side up to that of `LARGE` whose product fits into the time of a row: some types are emulated."""
    if bench.on_gpu:
        return GPU_LARGE
    if dtype in bench.affordable:
        return bench.affordable[dtype]
    n = 64
    while n < LARGE[bench.quick]:
        function = product(bench, 2 * n, dtype)
        if bench.refused(function):
            break
        start = time.perf_counter()
        function()
        if 8 * (time.perf_counter() - start) > bench.seconds:  # the next one takes eight times as long
            break
        n *= 2
    bench.affordable[dtype] = n  # for the passes to come, which must measure the same
    return n


def matmul(bench: Bench, n: int, dtype: str) -> Row | str:
    """2 n^3 operations over the time; what torch cannot multiply here is said in a sentence."""
    unit = "GOP/s" if dtype == "int8" else "GFLOP/s"
    function = product(bench, n, dtype)
    if reason := bench.refused(function):
        return f"matrix product, {dtype}: not on this device ({reason})"
    figure = bench.time(function).rate(2 * n**3 / GIGA)
    bench.peak[dtype] = max(bench.peak.get(dtype, 0.0), figure.best)
    facts: dict[str, float | str] = {"kind": "matmul", "m": n, "k": n, "n_columns": n}
    return bench.row(TOPIC, "matrix product", figure, unit, dtype=dtype, sizes=f"{n} x {n}", facts=facts)


def registers(bench: Bench) -> Iterator[Row | str]:
    """What the multiply-add units can do at most, with all numbers in registers: the peak that others are shares of."""
    if bench.on_gpu:
        return
    native = probes()
    if native is None:
        yield "peak of the multiply-add units: not measured, there is no C compiler (cc, gcc or clang)"
        return
    with ThreadPoolExecutor(bench.threads) as pool:
        operations = native.multiply_add(CHAIN) * bench.threads
        times = bench.time(lambda: list(pool.map(native.multiply_add, [CHAIN] * bench.threads)))
    figure = times.rate(operations / GIGA)
    bench.peak["fp32"] = max(bench.peak.get("fp32", 0.0), figure.best)
    facts: dict[str, float | str] = {"kind": "registers"}
    yield bench.row(TOPIC, "multiply-adds in registers", figure, "GFLOP/s", note="empirical FMA peak", facts=facts)


def _four_ways(bench: Bench) -> Iterator[Row]:
    """C = A B element by element, column by column, in blocks of columns, and at once."""
    a, b = bench.random(SIDE, SIDE), bench.random(SIDE, SIDE)
    c = torch.empty_like(a)

    def element() -> None:
        for i in range(ELEMENTS):
            for j in range(SIDE):
                c[i, j] = torch.dot(a[i], b[:, j])

    def column() -> None:
        for j in range(SIDE):
            c[:, j] = torch.mv(a, b[:, j])

    def block() -> None:
        for j in range(0, SIDE, BLOCK):
            c[:, j : j + BLOCK] = torch.mm(a, b[:, j : j + BLOCK])

    ways = {"element": element, "column": column, "block": block, "whole": lambda: torch.mm(a, b, out=c)}
    for way, function in ways.items():
        share = ELEMENTS / SIDE if way == "element" else 1
        figure = bench.time(function).rate(2 * SIDE**3 * share / GIGA)
        sizes = f"{SIDE} x {SIDE}" + (f", blocks of {BLOCK}" if way == "block" else "")
        yield bench.row(TOPIC, f"{way} by {way}" if way != "whole" else "at once", figure, "GFLOP/s", sizes=sizes,
                        source=SOURCE[way])  # fmt: skip


def _layer(bench: Bench, batch: int, width: int = 1024) -> Row:
    """A fully connected layer: with few examples the weights are read for little, with many for much."""
    x, w, b = bench.random(batch, width), bench.random(width, width), bench.random(width)
    figure = bench.time(lambda: torch.nn.functional.linear(x, w, b)).rate(2 * batch * width**2 / GIGA)
    facts: dict[str, float | str] = {"kind": "matmul", "m": batch, "k": width, "n_columns": width}
    return bench.row(
        TOPIC, "linear layer by batch", figure, "GFLOP/s", sizes=f"batch {batch}, {width} -> {width}", facts=facts
    )

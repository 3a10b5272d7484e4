"""The types that numbers are kept in: what they can hold, and how fast they are multiplied (d2l 13.4)."""

from collections.abc import Iterator

import torch

from d2lcli.hardware.bench import TYPES, Bench, Row
from d2lcli.hardware.compute import affordable, matmul
from d2lcli.hardware.measure import exactly

TOPIC = "precision"
SOURCE = {"fp16": "2 x fp32", "int8": "4 x fp32"}


def rows(bench: Bench) -> Iterator[Row | str]:
    """All figures of this topic."""
    yield from limits(bench)
    base: float | None = None
    for dtype in ("fp32", "tf32", "fp64", "bf16", "fp16", "int8"):
        if dtype == "tf32" and not bench.on_gpu:
            yield "tf32: a type of NVIDIA's tensor cores, not of a CPU"
            continue
        row = _speed(bench, dtype)
        if isinstance(row, str):
            yield row
            continue
        base = row.figure.median if dtype == "fp32" else base
        ratio = f"{row.figure.median / base:.2g} x fp32" if base else ""
        yield bench.row(
            TOPIC, row.what, row.figure, row.unit, dtype=dtype, sizes=row.sizes, source=SOURCE.get(dtype, ""),
            note=ratio, facts=row.facts,
        )  # fmt: skip


def limits(bench: Bench) -> Iterator[Row]:
    """The largest, the smallest normal number and the distance from 1 to the next one, as torch.finfo has them."""
    for dtype in ("fp64", "fp32", "bf16", "fp16"):
        found = torch.finfo(TYPES[dtype])
        known = {"largest number": found.max, "smallest normal": found.smallest_normal, "epsilon": found.eps}
        for what, value in known.items():
            yield bench.row(TOPIC, what, exactly(value), "", dtype=dtype, sizes=f"{found.bits} bits")
    found_int = torch.iinfo(torch.int8)
    yield bench.row(TOPIC, "largest number", exactly(found_int.max), "", dtype="int8", sizes=f"{found_int.bits} bits")


def _speed(bench: Bench, dtype: str) -> Row | str:
    """The matrix product; float32 on a GPU with and without TF32, which shortens what is multiplied."""
    if not bench.on_gpu:
        return matmul(bench, affordable(bench, dtype), dtype)
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = dtype == "tf32"
    try:
        return matmul(bench, affordable(bench, dtype), dtype)
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before

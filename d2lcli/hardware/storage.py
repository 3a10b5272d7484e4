"""Files: syncing, writing and reading, and how fast the product's own loader gives examples (d2l 13.4)."""

import os
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from d2lcli.hardware.bench import GIGA, Bench, Row

TOPIC = "storage"
SMALL = 4096
LARGE = {True: 16 << 20, False: 256 << 20}
SOURCE_WRITE, SOURCE_RATE = "30 (NVMe)", "0.1-0.2 HDD, 0.55 SATA, 1-8 NVMe"


def rows(bench: Bench) -> Iterator[Row | str]:
    """All figures of this topic, in the folder for temporary files.  Waiting for a disk takes no time of the CPU."""
    bench = replace(bench, clock=time.perf_counter)
    with tempfile.TemporaryDirectory(prefix="d2l-bench-") as folder:
        try:
            yield from _files(bench, Path(folder))
        except OSError as error:
            yield f"files in {folder}: {error.strerror}"
    if bench.load is None:
        yield "loader: not measured from here"
        return
    read, examples = bench.load()
    figure = bench.time(read).rate(examples)
    yield bench.row(TOPIC, "the product's loader, shuffled batches", figure, "examples/s", dtype="uint8",
                    sizes=f"{examples:,} images of 28 x 28, batch 256", facts={"kind": "loader"})  # fmt: skip


def _files(bench: Bench, folder: Path) -> Iterator[Row]:
    path, size = folder / "file", LARGE[bench.quick]
    small, large = os.urandom(SMALL), os.urandom(size)
    figure = bench.time(lambda: write_synced(path, small)).scaled(1e6)
    yield bench.row(TOPIC, "write and fsync a small file", figure, "us", dtype="bytes", workers="1 thread",
                    sizes="4 KiB", source=SOURCE_WRITE, facts={"kind": "sync"})  # fmt: skip
    figure = bench.time(lambda: write_synced(path, large)).rate(size / GIGA)
    yield bench.row(TOPIC, "write and fsync", figure, "GB/s", dtype="bytes", workers="1 thread",
                    sizes=f"{size >> 20} MiB", source=SOURCE_RATE, facts={"kind": "write"})  # fmt: skip
    figure = bench.time(lambda: read_file(path), before=lambda: forget(path)).rate(size / GIGA)
    yield bench.row(TOPIC, "read, the system's cache emptied", figure, "GB/s", dtype="bytes", workers="1 thread",
                    sizes=f"{size >> 20} MiB", source=SOURCE_RATE, facts={"kind": "read"},
                    note="a virtual disk may have a cache of its own")  # fmt: skip
    figure = bench.time(lambda: read_file(path)).rate(size / GIGA)
    yield bench.row(TOPIC, "read, from the system's cache", figure, "GB/s", dtype="bytes", workers="1 thread",
                    sizes=f"{size >> 20} MiB", facts={"kind": "cached read"})  # fmt: skip


def write_synced(path: Path, content: bytes) -> None:
    """Write a file, and wait until it is on the disk."""
    with open(path, "wb", buffering=0) as file:
        file.write(content)
        os.fsync(file.fileno())


def read_file(path: Path) -> int:
    """Read all of a file through one buffer; its size."""
    buffer, total = bytearray(1 << 20), 0
    with open(path, "rb", buffering=0) as file:
        while count := file.readinto(buffer):
            total += count
    return total


def forget(path: Path) -> None:
    """Ask the system to drop what it keeps of a file, as far as it knows how."""
    if hasattr(os, "posix_fadvise"):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(descriptor)

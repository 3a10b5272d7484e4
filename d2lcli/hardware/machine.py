"""What this machine is, as far as the system says so: the header of every table, and the name of its profile."""

import math
import os
import platform
import re
from pathlib import Path
from typing import Any

import psutil
import torch
from torch.utils.collect_env import get_nvidia_driver_version, run

CACHES = Path("/sys/devices/system/cpu/cpu0/cache")


def machine(threads: int) -> dict[str, Any]:
    """Names and sizes; what the system does not tell is None, or missing.

    Args:
        threads: that torch computes with.
    """
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    gpus = [torch.cuda.get_device_properties(index) for index in range(count)]
    return {
        "cpu": cpu_name(),
        "cores": available_cores(),
        "threads": threads,
        "mhz": round(frequency.current) if (frequency := _frequency()) else None,
        "memory_bytes": psutil.virtual_memory().total,
        "caches": cache_sizes(),
        "gpus": [gpu.name for gpu in gpus],
        "gpu_bytes": [gpu.total_memory for gpu in gpus],
        "gpu_processors": [gpu.multi_processor_count for gpu in gpus],
        "cuda": torch.version.cuda,
        "driver": get_nvidia_driver_version(run) if count else None,  # type: ignore[no-untyped-call]
        "torch": torch.__version__,
        "blas": blas(),
        "load": [round(load, 2) for load in os.getloadavg()],
        "system": f"{platform.system()} {platform.release()}",
    }


def describe(found: dict[str, Any]) -> list[str]:
    """The lines above the tables."""
    gpus = found["gpus"]
    clock = f", {found['mhz']:,} MHz" if found["mhz"] else ""
    caches = ", ".join(f"L{level} {size >> 10:,} KiB" for level, size in found["caches"].items())
    lines = [
        f"{found['cpu']}: {found['cores']} cores{clock}, {found['memory_bytes'] / 2**30:.0f} GiB memory"
        + (f", {caches}" if caches else "")
    ]
    if gpus:
        sizes = found["gpu_bytes"]
        driver = f", driver {found['driver']}" if found["driver"] else ""
        lines.append(f"{len(gpus)} x {gpus[0]}, {sizes[0] / 2**30:.0f} GiB, CUDA {found['cuda']}{driver}")
    load = " ".join(str(value) for value in found["load"])
    lines.append(f"torch {found['torch']}, {found['blas']}, {threads_in_words(found['threads'])}, load average {load}")
    return lines


def cpu_name() -> str:
    """The processor's name, such as "AMD EPYC"."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return (names[0] if names else platform.processor()) or platform.machine()


def available_cores() -> int:
    """Cores that this process may use: fewer than there are under an affinity mask or a container's quota."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        return min(allowed, max(1, math.ceil(int(quota) / int(period))))
    except (OSError, ValueError):  # no container, or no limit
        return allowed


def cache_sizes(folder: Path = CACHES) -> dict[int, int]:
    """Bytes of the data caches by level, smallest first; empty where the system does not tell."""
    found = {}
    for index in sorted(folder.glob("index*")):
        try:
            kind, size = ((index / name).read_text().strip() for name in ("type", "size"))
            level = int((index / "level").read_text())
        except (OSError, ValueError):
            continue
        amount = re.fullmatch(r"(\d+)([KMG]?)", size)
        if kind != "Instruction" and amount:
            found[level] = int(amount[1]) << 10 * " KMG".index(amount[2] or " ")
    return dict(sorted(found.items()))


def blas() -> str:
    """The library that multiplies matrices on the CPU, by torch's own account."""
    named = re.search(r"BLAS_INFO=(\w+)", torch.__config__.show())
    parts = [named[1] if named else "unknown"]
    return "BLAS " + parts[0] + (" + oneDNN" if torch._C._has_mkldnn else "")


def threads_in_words(threads: int) -> str:
    """1 thread, 2 threads; of one thread the CPU's own clock is read."""
    return f"{threads} threads" if threads > 1 else "1 thread (timed by the CPU's clock)"


def _frequency() -> Any:
    try:
        return psutil.cpu_freq()
    except (OSError, NotImplementedError):
        return None

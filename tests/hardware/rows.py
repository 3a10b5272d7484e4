"""Rows for the tests of a profile: made up, so that nothing here depends on the machine."""

from typing import Any

from d2lcli.hardware.bench import Row
from d2lcli.hardware.measure import Spread

MACHINE: dict[str, Any] = {"cpu": "Abacus 9", "gpus": [], "torch": "2.13.0", "threads": 2, "cores": 2}


def row(topic: str = "compute", what: str = "x", median: float = 2.0, unit: str = "GFLOP/s", **further: Any) -> Row:
    return Row(topic, what, Spread(median, median, median, median, 5), unit, **further)


def rates(giga: float = 1.0, microseconds: float = 1.0) -> list[dict[str, Any]]:
    """A machine that does everything at `giga` and calls everything in `microseconds`."""
    calls = [
        row("launch", "call", microseconds, "us", facts={"kind": "operation call"}),
        row("launch", "ahead", microseconds, "us", facts={"kind": "network forward", "kernels": 10, "backward": 10}),
        row("launch", "both", microseconds, "us", facts={"kind": "network both", "kernels": 20, "backward": 10}),
    ]
    sizes = {"batch": 1, "m": 8, "k": 8, "n": 8}
    kinds: list[dict[str, float | str]] = [
        {"kind": "mm", **sizes},
        {"kind": "bmm", **sizes},
        {"kind": "numbers", "operation": "add", "numbers": 64, "together": 1},
        {"kind": "numbers", "operation": "_fused_adamw_", "numbers": 64, "together": 1},
    ]
    kernels = [row("layers", "kernel", giga, "GFLOP/s", facts=facts) for facts in kinds]
    return [found.plain() for found in [*calls, *kernels]]

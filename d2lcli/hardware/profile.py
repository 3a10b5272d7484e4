"""What was measured here, kept between runs: a JSON file per machine in the user's cache folder.  Imports no torch."""

import hashlib
import json
import os
import re
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

import platformdirs

VERSION = 1
FIELDS = {"topic", "what", "median", "best", "low", "high", "n", "unit", "dtype", "device", "workers", "sizes", "facts"}
Limit = Literal["compute", "memory", "overhead", "input", "unknown"]
INPUT_SHARE = 0.25  # of a step spent waiting for examples, from which on that is the first thing to mend
OVERHEAD_SHARE = 0.5  # of a step spent on calls


def profile_path(machine: Mapping[str, Any], folder: Path | None = None) -> Path:
    """The file of this machine: named after processor, GPUs, torch and threads, for other figures hold for others."""
    gpus = machine["gpus"]
    words = [machine["cpu"], *([f"{len(gpus)}x{gpus[0]}"] if gpus else []), machine["torch"], f"{machine['threads']}t"]
    key = "-".join(words)
    name = re.sub(r"[^a-z0-9.]+", "-", key.lower()).strip("-")[:80]
    digest = hashlib.sha256(json.dumps([*words, gpus]).encode()).hexdigest()[:8]
    return (folder or Path(platformdirs.user_cache_dir("d2l", appauthor=False)) / "hardware") / f"{name}-{digest}.json"


def load_profile(path: Path) -> dict[str, Any] | None:
    """The profile in a file; None where there is none, or it is damaged or of another version: then measure anew."""
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    if not isinstance(found, dict) or found.get("version") != VERSION or not isinstance(found.get("machine"), dict):
        return None
    rows = found.get("rows")
    sound = isinstance(rows, list) and all(_is_row(row) for row in rows)
    return found if sound else None


def _is_row(row: object) -> bool:
    if not isinstance(row, dict) or not row.keys() >= FIELDS or not isinstance(row["facts"], dict):
        return False
    figures = [row[name] for name in ("median", "best", "low", "high")]
    return all(isinstance(figure, int | float) and not isinstance(figure, bool) for figure in figures)


def save_profile(path: Path, machine: Mapping[str, Any], rows: Iterable[Mapping[str, Any]]) -> None:
    """Write a profile; of a topic that was measured before on the same device the new rows take the place of the old.

    The file is written beside and renamed, so that a reader finds a whole one or none.
    """
    fresh = list(rows)
    measured = {(row["topic"], row["device"]) for row in fresh}
    known = load_profile(path)
    kept = [row for row in known["rows"] if (row["topic"], row["device"]) not in measured] if known else []
    content = {
        "version": VERSION,
        "written": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "machine": dict(machine),
        "rows": kept + fresh,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f"{path.name}.tmp-{os.getpid()}")
    try:
        with open(beside, "w") as file:
            json.dump(content, file, indent=1, allow_nan=False)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def peak(profile: Mapping[str, Any], dtype: str, device: str = "cpu") -> float | None:
    """The fastest multiply-adds that were measured, of products or in registers, in operations a second; else None."""
    found = [
        row["best"] * 1e9
        for row in profile["rows"]
        if row["unit"] in ("GFLOP/s", "GOP/s") and row["facts"].get("kind") in ("matmul", "mm", "registers")
        if (row["dtype"], row["device"]) == (dtype, device)
    ]
    return max(found, default=None)


def bandwidth(profile: Mapping[str, Any], device: str = "cpu") -> float | None:
    """The fastest pass over memory that was measured, in bytes a second; None where none was."""
    found = [
        row["best"] * 1e9
        for row in profile["rows"]
        if row["facts"].get("kind") == "bandwidth" and row["device"] == device
    ]
    return max(found, default=None)


def share_of_peak(
    multiply_adds_per_second: float, dtype: str, device: str, profile: Mapping[str, Any] | None
) -> float | None:
    """What a run computes over what this machine was measured to compute at most; a multiply-add is two operations.

    Args:
        multiply_adds_per_second: of the run.
        dtype: "fp32", "bf16", ...
        device: "cpu", "cuda:0".
        profile: of this machine, or None.

    Returns:
        None where nobody has measured: a peak is never guessed.
    """
    most = peak(profile, dtype, device) if profile else None
    return None if not most else 2 * multiply_adds_per_second / most


def bound(
    *,
    seconds: float,
    flops: float,
    bytes_moved: float,
    peak: float | None,
    bandwidth: float | None,
    waiting: float = 0.0,
    overhead: float | None = None,
) -> tuple[Limit, dict[str, float]]:
    """What keeps a training step from being faster, and the shares of the step that it was judged by.

    Args:
        seconds: of the step.
        flops: its operations, twice the multiply-adds.
        bytes_moved: that it reads and writes.
        peak: operations a second of this machine, where it was measured.
        bandwidth: bytes a second of this machine, where it was measured.
        waiting: seconds of the step without a batch.
        overhead: seconds of calls in the step, where they are known.

    Returns:
        "input" where a quarter of the step waits for examples; "overhead" where half of it goes into calls; else
        "compute" or "memory", by which of them alone would take longer; "unknown" where that was not measured.
    """
    if seconds <= 0:
        return "unknown", {}
    shares = {"input": waiting / seconds}
    if overhead is not None:
        shares["overhead"] = overhead / seconds
    if peak:
        shares["compute"] = flops / peak / seconds
    if bandwidth:
        shares["memory"] = bytes_moved / bandwidth / seconds
    if shares["input"] >= INPUT_SHARE:
        return "input", shares
    if shares.get("overhead", 0.0) >= OVERHEAD_SHARE:
        return "overhead", shares
    if "compute" not in shares or "memory" not in shares:
        return "unknown", shares
    return "compute" if shares["compute"] >= shares["memory"] else "memory", shares

"""metrics.jsonl read into columns, also while a process is writing it."""

import json
import math
from array import array
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from d2lcli.reporting.values import LARGEST

WORDS = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}


@dataclass
class Series:
    """What one number was over a run: columns of equal length, in the order of the log.

    Attributes:
        steps, epochs, seconds: where each value was logged.
        values: nan where the logged value was not finite.
        nonfinite: how many those are.
        first_nonfinite: the step of the first of them.
    """

    steps: "array[float]" = field(default_factory=lambda: array("d"))
    epochs: "array[float]" = field(default_factory=lambda: array("d"))
    seconds: "array[float]" = field(default_factory=lambda: array("d"))
    values: "array[float]" = field(default_factory=lambda: array("d"))
    nonfinite: int = 0
    first_nonfinite: float | None = None

    def __len__(self) -> int:
        return len(self.values)

    def add(self, step: float, epoch: float, seconds: float, value: float) -> None:
        """Append one value."""
        if not abs(value) <= LARGEST:  # nan is not, either
            self.nonfinite += 1
            self.first_nonfinite = step if self.first_nonfinite is None else self.first_nonfinite
            value = math.nan
        self.steps.append(step)
        self.epochs.append(epoch)
        self.seconds.append(seconds)
        self.values.append(value)


@dataclass
class Log:
    """A run's rows.

    Attributes:
        series: by split and name.
        grids: lists of lists, such as a confusion matrix, by split and name: the newest, with its step.
        rows: how many there are.
        broken: lines that are no rows; a torn last line, which is being written, is not among them.
    """

    series: dict[tuple[str, str], Series] = field(default_factory=dict)
    grids: dict[tuple[str, str], tuple[float, Any]] = field(default_factory=dict)
    rows: int = 0
    broken: int = 0

    @property
    def last_step(self) -> int:
        """The largest step of any row; 0 where there is none."""
        return int(max((series.steps[-1] for series in self.series.values()), default=0))

    @property
    def seconds(self) -> float | None:
        """The time of the newest row."""
        return max((series.seconds[-1] for series in self.series.values()), default=None)


def read_log(path: Path) -> Log:
    """Read a log; an empty one where there is no regular file.  Lines that are no rows are counted and left out."""
    log = Log()
    if path.is_symlink() or not path.is_file():
        return log
    with path.open("rb") as file:
        for line in file:
            try:
                _take(log, json.loads(line))
            except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError):
                log.broken += line.endswith(b"\n") and not line.isspace()
    return log


def _take(log: Log, row: Any) -> None:
    """Add a row, or raise where it is none."""
    split, values = row["split"], row["values"].items()
    place = float(row["step"]), float(row.get("epoch", 0.0)), float(row.get("seconds", 0.0))
    if not isinstance(split, str) or not all(0 <= each < 1e15 for each in place):
        raise ValueError("no row")
    log.rows += 1
    for name, value in values:
        if isinstance(value, list):
            log.grids[split, name] = place[0], value
            continue
        found = WORDS.get(value) if isinstance(value, str) else value
        if isinstance(found, int | float) and not isinstance(found, bool):
            series = log.series.get((split, name))
            if series is None:
                series = log.series.setdefault((split, name), Series())
            series.add(*place, found)

"""Rows as cells of a table: short figures, spreads, and the words that a reader needs.  Imports no torch."""

from collections.abc import Mapping, Sequence
from typing import Any

HEADERS = ("what", "sizes", "dtype", "on", "median", "best", "p10..p90", "unit", "n", "book", "note")
RIGHT = ("median", "best", "p10..p90")
CUT = "note"


def short(value: float, digits: int = 3) -> str:
    """Few digits: 0.00123, 12.3, 1,230, 1.23e+38."""
    if value == 0 or 1e-4 <= abs(value) < 1000:
        return f"{value:.{digits}g}"
    if 1000 <= abs(value) < 1e7:
        return f"{float(f'{value:.{digits}g}'):,.0f}"
    return f"{value:.{digits - 1}e}"


def cells(row: Mapping[str, Any]) -> list[str]:
    """One line of a table, in the order of `HEADERS`; a figure that was computed has no samples.

    Args:
        row: as `Row.plain` gives it.
    """
    sampled = row["n"] > 0
    return [
        row["what"], row["sizes"], row["dtype"], row["workers"], short(row["median"], 3 if sampled else 4),
        short(row["best"]) if sampled else "", f"{short(row['low'])}..{short(row['high'])}" if sampled else "",
        row["unit"], str(row["n"]) if sampled else "", row["source"], row["note"],
    ]  # fmt: skip


def table(rows: Sequence[Mapping[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """Headers and lines, without the rows that are for the profile only and the columns that would be empty."""
    lines = [cells(row) for row in rows if not row["detail"]]
    used = [index for index in range(len(HEADERS)) if any(line[index] for line in lines)]
    return [HEADERS[index] for index in used], [[line[index] for index in used] for line in lines]

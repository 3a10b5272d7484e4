"""What commands share when they print: plain tables, JSON, error lines.  No markup is ever read in what is printed."""

import json
import os
import shutil
import sys
from collections.abc import Sequence
from typing import Any, TextIO

from d2lcli.errors import clean

MOST_LINES = 12
WIDTH = 120  # of a table where stdout is no terminal
LEAST = 16  # what is left of a column that is cut


def prepare_streams() -> None:
    """Let no character that the terminal's encoding lacks end the program."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def print_table(
    headers: Sequence[str], rows: Sequence[Sequence[Any]], *, right: Sequence[str] = (), cut: str = ""
) -> None:
    """Columns on stdout, as wide as their widest cell; numbers stand on the right.

    Args:
        headers: of the columns.
        rows: the cells of each.
        right: columns that stand on the right though not all their cells are numbers.
        cut: the column whose cells are shortened where the table is wider than the terminal.
    """
    cells = [[_cell(value) for value in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(headers, *cells)]
    if cut:
        index = headers.index(cut)
        rest = sum(widths) - widths[index] + 2 * (len(headers) - 1)
        widths[index] = min(widths[index], max(LEAST, shutil.get_terminal_size((WIDTH, 0)).columns - rest))
        for line in cells:
            line[index] = _shortened(line[index], widths[index])
    numbers = [bool(rows) and all(_is_number(row[index]) for row in rows) for index in range(len(headers))]
    sides = [number or header in right for number, header in zip(numbers, headers)]
    for line in ([header.upper() for header in headers], *cells):
        padded = (text.rjust(width) if side else text.ljust(width) for text, width, side in zip(line, widths, sides))
        print("  ".join(padded).rstrip())


def _cell(value: Any) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    if isinstance(value, list | tuple):
        return " x ".join(map(str, value))
    return clean(value)


def _shortened(text: str, width: int) -> str:
    """Text loses its end, a path such as layer4.2.conv1 its beginning."""
    if len(text) <= width:
        return text
    return f"{text[: width - 3].rstrip()}..." if " " in text else f"...{text[3 - width :].lstrip('.')}"


def short_count(count: int) -> str:
    """A count for people, with three digits: 850, 61.7 k, 25.6 M, 4.09 G."""
    if count < 1000:
        return str(count)
    value = count / 1000
    for unit in ("k", "M", "G"):
        if value < 999.5:
            return f"{value:#.3g}".rstrip(".") + f" {unit}"
        value /= 1000
    return f"{value:,.1f} T"


def short_bytes(count: int) -> str:
    """A number of bytes for people: 512 B, 96.0 KiB, 221.9 MiB, 1.3 GiB."""
    if count < 1024:
        return f"{count} B"
    value = count / 1024
    for unit in ("KiB", "MiB", "GiB"):
        if value < 1023.95:
            return f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:,.1f} TiB"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def print_json(value: Any) -> None:
    """One JSON value on stdout, on one line, ASCII only."""
    print(json.dumps(value, ensure_ascii=True, allow_nan=False))


def print_error(lines: Sequence[str], hint: str = "") -> None:
    """`error:` lines on stderr, and what to do next; a stderr that is closed or full is let be."""
    shown = [f"error: {line}" for line in lines[:MOST_LINES]]
    if len(lines) > MOST_LINES:
        shown.append(f"error: and {len(lines) - MOST_LINES:,} more")
    if hint:
        shown.append(f"hint: {hint}")
    if sys.stderr is None:  # closed by the shell: print would fall back to stdout
        return
    try:
        print("\n".join(clean(line, 600) for line in shown), file=sys.stderr, flush=True)
    except (OSError, ValueError):
        pass


def discard(stream: TextIO | None) -> None:
    """Point a stream at nothing, so that what is still buffered cannot fail again when Python exits."""
    try:
        nothing = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, stream.fileno())  # type: ignore[union-attr]
        os.close(nothing)
    except (OSError, ValueError, AttributeError):
        pass


def settle_stderr() -> None:
    """Write what stderr has buffered; where that fails, let nobody hear of it but who reads the exit code."""
    try:
        if sys.stderr is not None:
            sys.stderr.flush()
    except (OSError, ValueError):
        discard(sys.stderr)

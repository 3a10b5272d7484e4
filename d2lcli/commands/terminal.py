"""What commands share when they print: plain tables, JSON, error lines.  No markup is ever read in what is printed."""

import json
import os
import sys
from collections.abc import Sequence
from typing import Any

from d2lcli.errors import clean

MOST_LINES = 12


def prepare_streams() -> None:
    """Let no character that the terminal's encoding lacks end the program."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def print_table(headers: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Columns on stdout, as wide as their widest cell; numbers stand on the right."""
    cells = [[_cell(value) for value in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(headers, *cells)]
    right = [bool(rows) and all(_is_number(row[index]) for row in rows) for index in range(len(headers))]
    for line in ([header.upper() for header in headers], *cells):
        padded = (text.rjust(width) if side else text.ljust(width) for text, width, side in zip(line, widths, right))
        print("  ".join(padded).rstrip())


def _cell(value: Any) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    if isinstance(value, list | tuple):
        return " x ".join(map(str, value))
    return clean(value)


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


def discard_stdout() -> None:
    """Point stdout at nothing, so that what is still buffered cannot fail again when Python exits."""
    try:
        nothing = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, sys.stdout.fileno())
        os.close(nothing)
    except (OSError, ValueError, AttributeError):
        pass

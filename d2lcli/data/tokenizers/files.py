"""Files of tokenizers: read whole, up to a size, and as JSON without repeated keys."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

from d2lcli.errors import DataError, clean

LARGEST_FILE = 256 << 20  # bytes


def read_content(file: Path) -> str:
    """The text of a file.

    Raises:
        DataError: it cannot be read, is too large, or is not UTF-8.
    """
    try:
        return read_bytes(file).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"tokenizer file {clean(file)} is not UTF-8 at byte {error.start}") from None


def read_bytes(file: Path) -> bytes:
    """The content of a file.

    Raises:
        DataError: it cannot be read, or is too large.
    """
    where = f"tokenizer file {clean(file)}"
    try:
        with open(file, "rb") as opened:
            content = opened.read(LARGEST_FILE + 1)
    except OSError as error:
        raise DataError(f"{where} cannot be read: {error.strerror}") from None
    if len(content) > LARGEST_FILE:
        raise DataError(f"{where} is larger than {LARGEST_FILE >> 20} MiB")
    return content


def read_object(content: str, file: Path) -> dict[str, Any]:
    """The JSON object that a file holds.

    Raises:
        DataError: it holds anything else, or a key twice.
    """
    where = f"tokenizer file {clean(file)}"
    try:
        found = json.loads(content, object_pairs_hook=_without_repeats)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where} is not valid JSON: {clean(error)}") from None
    if not isinstance(found, dict):
        raise DataError(f"{where} does not hold a JSON object")
    return found


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        ((repeated, _),) = Counter(key for key, _ in pairs).most_common(1)
        raise ValueError(f"the key '{clean(repeated, 40)}' is given twice")
    return found

"""`${data.batch_size}`: one key's value for another.  No environment, no resolvers, no text around it."""

import re
from collections.abc import Callable
from typing import Any

from d2lcli.config.problems import Problems
from d2lcli.errors import clean

_NODE = re.compile(r"\$\{([A-Za-z]\w*(?:\.[A-Za-z]\w*)*)\}")


def resolve(
    values: dict[str, Any], place: Callable[[tuple[str, ...]], str], problems: Problems
) -> set[tuple[str, ...]]:
    """Put the value in the place of each interpolation, in `values` itself; the keys where there is none."""
    bad = set()
    waiting: list[tuple[Any, Any, tuple[str, ...]]] = [(values, key, (str(key),)) for key in values]
    while waiting:
        holder, index, key = waiting.pop()
        value = holder[index]
        if isinstance(value, dict):
            waiting += [(value, name, (*key, str(name))) for name in value]
        elif isinstance(value, list):
            waiting += [(value, position, key) for position in range(len(value))]
        elif isinstance(value, str) and "${" in value:
            try:
                holder[index] = _follow(values, value, {".".join(key)})
            except ValueError as error:
                problems.add(f"{clean('.'.join(key), 80)}: {error} ({place(key)})")
                holder[index] = None
                bad.add(key)
    return bad


def _follow(values: dict[str, Any], text: str, seen: set[str]) -> Any:
    """The value at the end of a chain of interpolations.

    Raises:
        ValueError: it is not of the form `${KEY}`, names no value, or leads back to itself.
    """
    found: Any = text
    while isinstance(found, str) and "${" in found:
        match = _NODE.fullmatch(found)
        if match is None:
            raise ValueError(f"'{clean(found, 100)}' is not allowed: only a whole value may be ${{KEY}}")
        key = match.group(1)
        if key in seen:
            raise ValueError(f"'{clean(text, 100)}' leads back to itself")
        seen.add(key)
        found = values
        for part in key.split("."):
            if not isinstance(found, dict) or part not in found:
                raise ValueError(f"'{clean(text, 100)}' names no key of the config")
            found = found[part]
        if isinstance(found, dict | list):
            raise ValueError(f"'{clean(text, 100)}' names no single value")
    return found

"""Values from JSON files that anybody may have written: of the type that is wanted, or nothing."""

from typing import Any

LARGEST = 1e300  # beyond it differences overflow; such a number counts as one that is not finite


def number(value: Any) -> int | float | None:
    """A finite number; None for anything else, true and false too."""
    return value if type(value) in (int, float) and abs(value) <= LARGEST else None


def whole(value: Any) -> int | None:
    """A whole number, such as a step."""
    found = number(value)
    return int(found) if found is not None and found == int(found) else None


def mapping(value: Any) -> dict[str, Any]:
    """A JSON object; an empty one for anything else."""
    return value if isinstance(value, dict) else {}


def sequence(value: Any) -> list[Any]:
    """A list; an empty one for anything else."""
    return value if isinstance(value, list) else []

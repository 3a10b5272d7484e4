"""The errors that a user may see without a traceback, each with its exit code, and the cleaning of outside text."""

import difflib
import unicodedata
from collections.abc import Iterable, Sequence


class D2LError(Exception):
    """A mistake or a fault that is explained in one line, and what to do next in another.

    Args:
        message: what was given and what is wrong with it.
        hint: what to do next; printed on a line of its own.
    """

    exit_code = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    @property
    def lines(self) -> list[str]:
        """The messages, one line for each problem."""
        return [self.message]


class ConfigError(D2LError):
    """Usage or configuration: an unknown name or key, a wrong type, a bad value.  Holds all problems at once."""

    exit_code = 2

    def __init__(self, message: str | Sequence[str], hint: str = "") -> None:
        self.problems = [message] if isinstance(message, str) else list(message)
        super().__init__("; ".join(self.problems), hint)

    @property
    def lines(self) -> list[str]:
        return self.problems


class DataError(D2LError):
    """Data is missing, damaged, or has a wrong checksum."""

    exit_code = 3


class CheckpointError(D2LError):
    """A checkpoint or run folder is missing, corrupt or incompatible."""

    exit_code = 4


class NonFiniteError(D2LError):
    """The loss or a gradient is not a finite number."""

    exit_code = 5


class MemoryFullError(D2LError):
    """The device or the machine ran out of memory."""

    exit_code = 6


class WorkerLostError(D2LError):
    """A process of a distributed run died or stopped answering."""

    exit_code = 7


def clean(text: object, limit: int = 200) -> str:
    """Outside text made safe for a terminal: control, bidirectional and lone surrogate characters escaped, then cut."""
    raw = str(text)
    shown = "".join(
        char if char == " " or unicodedata.category(char)[0] not in "CZ" else char.encode("unicode_escape").decode()
        for char in raw[: limit + 1]
    )
    return shown if len(shown) <= limit else shown[: limit - 3] + "..."


def nearest(word: str, choices: Iterable[str]) -> str:
    """`; did you mean 'x'?` for the choice nearest to `word`, or nothing."""
    found = difflib.get_close_matches(word[:100], list(choices), n=1, cutoff=0.6)
    return f"; did you mean '{found[0]}'?" if found else ""

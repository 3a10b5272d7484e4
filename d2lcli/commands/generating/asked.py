"""What a user asks of `d2l generate`: options, prompts, files of prompts."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from d2lcli.errors import DataError, clean


@dataclass(frozen=True)
class Asked:
    """The options of the command; `d2l generate --help` explains them."""

    prompts: Sequence[str]
    file: Path | None
    num: int
    stop: Sequence[str]
    instruction: str
    examples: Path | None
    shots: int | None
    checkpoint: str
    cache: bool
    attention: Path | None
    json_output: bool

    def texts(self) -> list[str]:
        """All prompts."""
        return [*self.prompts, *(read_lines(self.file) if self.file is not None else [])]


def read_lines(file: Path) -> list[str]:
    """The prompts in a file, one a line; - is stdin.

    Raises:
        DataError: it cannot be read, or is not UTF-8.
    """
    found = [line for line in read_text(file, "--file").splitlines() if line]
    if not found:
        raise DataError(f"--file: {clean(file)} holds no prompt")
    return found


def read_text(file: Path, option: str) -> str:
    """The text in a file that an option names; - is stdin.

    Raises:
        DataError: it cannot be read, or is not UTF-8.
    """
    try:
        content = sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
        return content.decode("utf-8-sig")
    except OSError as error:
        raise DataError(f"{option}: {clean(file)} cannot be read: {error.strerror or clean(error)}") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{option}: {clean(file)}: not UTF-8 at byte {error.start}") from None


def note(text: str) -> None:
    """A line on stderr beside the results."""
    print(f"note: {text}", file=sys.stderr)

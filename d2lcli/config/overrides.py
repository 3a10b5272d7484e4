"""Reads KEY=VALUE words with Hydra's grammar, and refuses those parts of it that reach beyond plain values."""

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from d2lcli.config.problems import Problems
from d2lcli.errors import clean

COMMAND_LINE = "command line"
_LONGEST = 10_000
_DEEPEST = 50
_BIDI = frozenset(["LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"])
_SWEEP_HINT = "d2l train takes one value for each key; sweeps are for d2l hpo"


@dataclass(frozen=True)
class Setting:
    """One value that somebody gave a key.

    Args:
        key: its parts: ("optim", "lr").
        value: a plain value.
        place: `command line`, or file and line.
        delete: the key is to be taken away (`~key`); `value` is then what it must have, if not None.
    """

    key: tuple[str, ...]
    value: Any
    place: str
    delete: bool = False

    @property
    def dotted(self) -> str:
        """The key as one writes it, safe to print."""
        return clean(".".join(self.key), 80)


def is_reserved(part: object) -> bool:
    """Whether a key is one of Hydra's own, such as `_target_`: a config names registry entries, never code."""
    return isinstance(part, str) and len(part) > 1 and part.startswith("_") and part.endswith("_")


def read_overrides(words: Sequence[str], problems: Problems) -> list[Setting]:
    """The settings of the command line, in order; what cannot be read is added to `problems`."""
    settings = []
    for word in words:
        shown = clean(word.partition("=")[0] or word, 80)
        if reason := refusal(word):
            problems.add(f"{reason} ({COMMAND_LINE})")
            continue
        try:
            settings += _read(word)
        except ValueError as error:
            problems.add(f"{shown}: {error} ({COMMAND_LINE})", getattr(error, "hint", ""))
    return settings


def refusal(word: str) -> str:
    """Why a word is refused before Hydra reads it."""
    key, equals, value = word.partition("=")
    shown = clean(key, 80)
    if not equals and not key.startswith("~"):
        return f"stray word '{shown}': overrides are KEY=VALUE"
    if not key.lstrip("+~"):
        return f"no key before the = of '{clean(word, 80)}'"
    if len(word) > _LONGEST:
        return f"{shown}: {len(word):,} characters, too long for one override: '{clean(value, 60)}'"
    for char in word:
        if unicodedata.category(char) in ("Cc", "Cs") or unicodedata.bidirectional(char) in _BIDI:
            return f"{shown}: character {clean(char)} is not allowed in '{clean(value, 100)}'"
    if len(value) > 400 and value.lstrip("+-").isdecimal():
        return f"{shown}: '{clean(value, 60)}' is out of range: a number of {len(value):,} digits"
    if max(value.count("["), value.count("{"), value.count("(")) > _DEEPEST:
        return f"{shown}: too many brackets in '{clean(value, 60)}'"
    return ""


def _read(word: str) -> list[Setting]:
    """The settings of one word.

    Raises:
        ValueError: the reason, without the key.
    """
    key, value, override = parse(word)
    if override.is_sweep_override():
        raise ValueError(f"'{clean(word.partition('=')[2], 60)}' is several values; {_SWEEP_HINT}")
    return expand(Setting(key, value, COMMAND_LINE, override.is_delete()))


def parse(word: str) -> tuple[tuple[str, ...], Any, Any]:
    """The parts of a word's key, its value, and what Hydra made of it; the value may be one of Hydra's sweeps.

    Raises:
        ValueError: the reason, without the key.
    """
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    try:
        override = OverridesParser.create().parse_override(word)
        value = override.value()
    except (HydraException, ValueError, ArithmeticError, RecursionError) as error:
        detail = clean(str(error).partition("\n")[0], 120)
        raise ValueError(
            f"'{clean(word.partition('=')[2], 100)}' cannot be read: {detail}; quote text as KEY=\"'...'\""
        ) from None
    key = override.key_or_group
    if key == "hydra" or key.startswith(("hydra.", "hydra/")):
        raise ValueError("hydra.* is not part of this config")
    if override.package is not None:
        raise ValueError("packages (KEY@PACKAGE) are not part of this config")
    return tuple(re.split(r"[./]", key)), value, override


def expand(setting: Setting) -> list[Setting]:
    """Check the keys of a setting.

    Raises:
        ValueError: a key is not text, or is one of Hydra's own.
    """
    for part in (*setting.key, *_keys(setting.value)):
        if not isinstance(part, str):
            raise ValueError(f"key {clean(part, 80)} of a mapping is not text")
        if is_reserved(part):
            raise ValueError(f"key '{clean(part, 80)}' is not allowed: a config names registry entries, never code")
    return [setting]


def _keys(value: Any) -> Iterable[Any]:
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, Mapping):
            yield from item
            waiting += item.values()
        elif isinstance(item, list):
            waiting += item

"""Reads the words that give a key several values, in Hydra's sweep grammar; and writes a value as such a word."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from d2lcli.config.layers import read_config_file
from d2lcli.config.overrides import COMMAND_LINE, Setting, expand, parse, refusal
from d2lcli.config.places import BUNDLES, conf_names
from d2lcli.config.problems import Problems
from d2lcli.config.schema import GROUPS
from d2lcli.errors import clean

MOST = 100_000  # values of a choice or range
_PLAIN = re.compile(r"[A-Za-z_][\w./-]*")
_WORDS = ("true", "false", "null", "nan", "inf")


@dataclass(frozen=True)
class Sweep:
    """What a search may give one key: the `values` of a choice, or numbers from `low` to `high`.

    Args:
        key: dotted.
        values: of a choice, in its order; empty for numbers.
        low, high: the ends of the numbers, both included.
        log: whether their logarithms are uniform.
        integer: whether they are whole.
    """

    key: str
    values: tuple[Any, ...] = ()
    low: float = 0.0
    high: float = 0.0
    log: bool = False
    integer: bool = False


def part_sweeps(words: Sequence[str]) -> tuple[list[Sweep], list[str]]:
    """The words that give a key several values, and all others as they stand.

    choice(a,b) or a,b; range(1,5) and range(16,129,16); interval(0.1,1) of numbers, int(interval(1,10)) of integers,
    tag(log,interval(1e-4,1)); glob(res*) of a group.

    Raises:
        ConfigError: a word that cannot be read.
    """
    problems = Problems()
    sweeps: list[Sweep] = []
    others = []
    for word in words:
        shown = clean(word.partition("=")[0] or word, 80)
        try:
            found = None if refusal(word) else read_sweep(word)
        except ValueError as error:
            problems.add(f"{shown}: {error} ({COMMAND_LINE})", getattr(error, "hint", ""))
            continue
        if found is None:
            others.append(word)
        elif any(sweep.key == found.key for sweep in sweeps):
            problems.add(f"{shown}: is given two sets of values ({COMMAND_LINE})")
        else:
            sweeps.append(found)
    problems.raise_any()
    return sweeps, others


def read_sweep(word: str) -> Sweep | None:
    """The sweep of a word; None where it gives one value.

    Raises:
        ValueError: the reason, without the key.
    """
    from hydra.core.override_parser.types import ChoiceSweep, Glob, IntervalSweep, RangeSweep

    key, value, override = parse(word)
    if not override.is_sweep_override():
        return None
    expand(Setting(key, None, COMMAND_LINE))
    dotted = ".".join(key)
    if isinstance(value, Glob):
        names = GROUPS[key[0]].names() if key[0] in GROUPS else conf_names(key[0]) if key[0] in BUNDLES else ()
        chosen = [name for name in names if _matches(name, value.include) and not _matches(name, value.exclude)]
        if len(key) > 1 or not chosen:
            raise ValueError(f"glob({', '.join(map(str, value.include))}) is no name of a group")
        return Sweep(dotted, tuple(chosen))
    log, integer = "log" in value.tags, "int" in value.tags
    if unknown := [tag for tag in value.tags if tag not in ("log", "int", "float")]:
        raise ValueError(f"unknown tag '{clean(unknown[0], 40)}' (known: log, int, float)")
    if isinstance(value, IntervalSweep):
        integer = integer or (isinstance(value.start, int) and isinstance(value.end, int))
        return _numbers(dotted, value.start, value.end, log, integer)
    if isinstance(value, RangeSweep):
        return _range(dotted, value.range(), log)
    assert isinstance(value, ChoiceSweep)
    values = tuple(_plain(item) for item in value.list)
    for item in values:
        expand(Setting(key, item, COMMAND_LINE))
    if log:
        raise ValueError("the tag log is for an interval or a range")
    return Sweep(dotted, values)


def _matches(name: str, patterns: Sequence[Any]) -> bool:
    return any(fnmatchcase(name, str(pattern)) for pattern in patterns)


def _numbers(key: str, low: Any, high: Any, log: bool, integer: bool) -> Sweep:
    """An interval."""
    if integer and not (float(low).is_integer() and float(high).is_integer()):
        raise ValueError(f"an interval of integers cannot go from {low} to {high}")
    return Sweep(key, (), int(low) if integer else float(low), int(high) if integer else float(high), log, integer)


def _range(key: str, found: Any, log: bool) -> Sweep:
    """A range: its end is not included; every whole number of it makes an interval of integers."""
    if isinstance(found, range) and found.step == 1 and len(found) > 1:
        return Sweep(key, (), found.start, found.stop - 1, log, True)
    if log:
        raise ValueError("the tag log is for an interval, or a range of all integers")
    values: list[Any] = []
    for value in found:
        values.append(value)
        if len(values) > MOST:
            raise ValueError(f"a range of more than {MOST:,} values; use interval(LOW,HIGH)")
    if not values:
        raise ValueError("the range is empty: its end is not included")
    return Sweep(key, tuple(values))


def _plain(value: Any) -> Any:
    """Hydra's quoted text as text, also inside lists and mappings."""
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, Mapping):
        return {_plain(key): _plain(item) for key, item in value.items()}
    return getattr(value, "text", value)


def read_file_overrides(path: Path) -> list[str]:
    """A user's YAML file as the words that say the same.

    Raises:
        ConfigError: the file is not strict YAML, or has a key that is not allowed.
    """
    problems = Problems()
    settings = read_config_file(path, problems)
    problems.raise_any()
    return [write_override(".".join(setting.key), setting.value) for setting in settings]


def write_override(key: str, value: Any) -> str:
    """KEY=VALUE as `d2l train` reads it."""
    return f"{key}={_write(value)}"


def _write(value: Any) -> str:
    if value is None or isinstance(value, bool | int | float):
        return json.dumps(value)
    if isinstance(value, str):
        if _PLAIN.fullmatch(value) and value.lower() not in _WORDS:
            return value
        return "'" + re.sub(r"(\\*)('|$)", lambda found: 2 * found[1] + ("\\'" if found[2] else ""), value) + "'"
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{_write(key)}:{_write(item)}" for key, item in value.items()) + "}"
    return "[" + ",".join(map(_write, value)) + "]"

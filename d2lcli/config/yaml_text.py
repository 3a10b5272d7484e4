"""Strict YAML: one small document of plain values, each with its line; no tags, no aliases, no duplicate keys.

Scalars are read as in YAML 1.2: `1e-3` is a number, `no` and `12:30:45` are text.  Built on PyYAML's events, so nothing
is constructed that is not written here, and nothing is recursive.
"""

import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from d2lcli.errors import ConfigError, clean

MAX_BYTES = 1 << 20
MAX_DEPTH = 50
MAX_DIGITS = 400

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_NULL = re.compile(r"~|null|Null|NULL|")
_BOOL = re.compile(r"true|True|TRUE|false|False|FALSE")
_INT = re.compile(r"[-+]?[0-9]+|0x[0-9a-fA-F]+|0o[0-7]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_BAD = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ufffe\uffff]")


@dataclass
class Document:
    """A file's values, and the line (from 1) of every key of its mappings."""

    name: str
    values: dict[str, Any]
    lines: dict[tuple[str, ...], int] = field(default_factory=dict)

    def place(self, key: tuple[str, ...]) -> str:
        """`file:line` of a key, or of the nearest key above it."""
        while key and key not in self.lines:
            key = key[:-1]
        return f"{self.name}:{self.lines[key]}" if key else self.name


def load_yaml(path: Path | str) -> dict[str, Any]:
    """The values of a YAML file; see `read_document`."""
    return read_document(path).values


def read_document(path: Path | str, name: str = "") -> Document:
    """Read a YAML file whose top is a mapping.

    Args:
        path: the file; anything but a regular file of at most 1 MiB is refused.
        name: what messages call it; the path where empty.

    Raises:
        ConfigError: the file cannot be read, is not UTF-8, or is not strict YAML; file and line are named.
    """
    shown = clean(name or path)
    content = _read_bytes(path, shown)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{shown}: byte {error.start} is not UTF-8 text") from None
    if bad := _BAD.search(text):
        line = text.count("\n", 0, bad.start()) + 1
        raise ConfigError(f"{shown}:{line}: control character {clean(bad.group())} (byte {_offset(text, bad.start())})")
    return parse_document(text, shown)


def _offset(text: str, position: int) -> int:
    return len(text[:position].encode())


def _read_bytes(path: Path | str, shown: str) -> bytes:
    try:
        # O_NONBLOCK: opening a pipe that nobody writes to would wait for ever.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError) as error:
        raise ConfigError(f"{shown}: cannot be read: {getattr(error, 'strerror', None) or error}") from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise ConfigError(f"{shown}: not a regular file")
    with os.fdopen(descriptor, "rb") as file:
        try:
            content = file.read(MAX_BYTES + 1)
        except OSError as error:
            raise ConfigError(f"{shown}: cannot be read: {error.strerror}") from None
    if len(content) > MAX_BYTES:
        raise ConfigError(f"{shown}: larger than {MAX_BYTES:,} bytes, too large for a config")
    return content


def parse_document(text: str, name: str) -> Document:
    """The same for text at hand; `name` stands for the file in messages."""
    document = Document(name, {})
    try:
        _Composer(document).run(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        raise ConfigError(f"{name}{line}: not YAML: {clean(getattr(error, 'problem', None) or error)}") from None
    return document


@dataclass
class _Level:
    """An open mapping or list; `key` is the key that waits for its value."""

    value: dict[str, Any] | list[Any]
    path: tuple[str, ...]
    key: str | None = None


class _Composer:
    """Turns the parser's events into plain values with a stack of open mappings and lists."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.stack: list[_Level] = []
        self.line = 0
        self.documents = 0

    def run(self, text: str) -> None:
        for event in yaml.parse(text, Loader=_LOADER):
            self.line = event.start_mark.line + 1 if event.start_mark else 0
            if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
                self.fail("anchors (&) and aliases (*) are not allowed")
            if isinstance(event, yaml.DocumentStartEvent):
                self.start_document()
            elif isinstance(event, yaml.ScalarEvent):
                self.add_scalar(event)
            elif isinstance(event, yaml.MappingStartEvent | yaml.SequenceStartEvent):
                self.refuse_tag(event.tag)
                self.open({} if isinstance(event, yaml.MappingStartEvent) else [])
            elif isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent):
                self.stack.pop()

    def fail(self, reason: str) -> None:
        raise ConfigError(f"{self.document.name}:{self.line}: {reason}")

    def start_document(self) -> None:
        self.documents += 1
        if self.documents > 1:
            self.fail("a second document (---) in one file")

    def refuse_tag(self, tag: str | None) -> None:
        if tag not in (None, "!"):
            self.fail(f"tag {clean(tag, 80)} is not allowed: a config holds plain values")

    def add_scalar(self, event: Any) -> None:
        self.refuse_tag(event.tag)
        plain = event.implicit[0] and event.tag is None and not event.style
        level = self.stack[-1] if self.stack else None
        if level is not None and isinstance(level.value, dict) and level.key is None:
            self.add_key(event.value, plain, level, level.value)
        elif level is not None or event.value != "" or not plain:
            self.add(self.scalar(event.value) if plain else event.value)

    def add_key(self, text: str, plain: bool, level: _Level, mapping: dict[str, Any]) -> None:
        if plain and not isinstance(self.scalar(text), str):
            self.fail(f"key {clean(text, 80) or 'null'} is not text")
        if text in mapping:
            first = self.document.lines.get((*level.path, text))
            self.fail(f"duplicate key '{clean(text, 80)}'" + (f", first on line {first}" if first else ""))
        level.key = text
        if "[]" not in level.path:
            self.document.lines[(*level.path, text)] = self.line

    def open(self, value: dict[str, Any] | list[Any]) -> None:
        if len(self.stack) >= MAX_DEPTH:
            self.fail(f"nested deeper than {MAX_DEPTH} levels")
        above = self.stack[-1] if self.stack else None
        if above is not None and isinstance(above.value, dict) and above.key is None:
            self.fail("a key must be text, not a list or mapping")
        path = () if above is None else (*above.path, above.key if above.key is not None else "[]")
        self.add(value)
        self.stack.append(_Level(value, path))

    def add(self, value: Any) -> None:
        if not self.stack:
            if not isinstance(value, dict):
                self.fail("the top must be a mapping, KEY: VALUE")
            self.document.values = value
            return
        level = self.stack[-1]
        if isinstance(level.value, list):
            level.value.append(value)
        elif level.key is not None:
            level.value[level.key] = value
            level.key = None

    def scalar(self, text: str) -> Any:
        if _NULL.fullmatch(text):
            return None
        if _BOOL.fullmatch(text):
            return text.lower() == "true"
        if len(text) <= MAX_DIGITS:
            if _INT.fullmatch(text):
                return int(text, 8 if text[:2] == "0o" else 16 if text[:2] == "0x" else 10)
            if _FLOAT.fullmatch(text):
                return float(
                    text.replace(".inf", "inf")
                    .replace(".Inf", "inf")
                    .replace(".INF", "inf")
                    .replace(".n", "n")
                    .replace(".N", "N")
                )
        elif _INT.fullmatch(text) or _FLOAT.fullmatch(text):
            self.fail(f"a number of {len(text):,} characters")
        return text


class _Dumper(yaml.SafeDumper):
    """Quotes what either YAML 1.1 or this module's own reading would take for something else than text."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


_Dumper.add_implicit_resolver("tag:yaml.org,2002:float", _FLOAT, list("-+.0123456789"))
_Dumper.add_implicit_resolver("tag:yaml.org,2002:int", _INT, list("-+0123456789"))
for _kind in (list, tuple):
    _Dumper.add_representer(
        _kind, lambda dumper, data: dumper.represent_sequence("tag:yaml.org,2002:seq", list(data), flow_style=True)
    )


def dump_yaml(values: Mapping[str, Any]) -> str:
    """Plain values as YAML that `load_yaml` reads back as they are; ASCII, lists on one line."""
    text: str = yaml.dump(dict(values), Dumper=_Dumper, sort_keys=False, default_flow_style=False, width=110)
    return text

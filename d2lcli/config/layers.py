"""The files below a config, as layers: what each sets, on which line, and what it chooses."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from d2lcli.config.overrides import Setting, expand
from d2lcli.config.places import BUNDLES, conf_dir, conf_file
from d2lcli.config.problems import Problems
from d2lcli.config.schema import GROUPS
from d2lcli.config.yaml_text import Document, read_document
from d2lcli.errors import clean

_OVERRIDE = re.compile(r"override\s+/?(\w+)")


@dataclass
class Config:
    """A checked config.

    Args:
        values: plain nested values; each node of a group has its `name`.
        choices: the entry of each group and bundle, None where there is none.
        settings: what the user's file and the command line set, in order.
        layers: the shipped files that it was composed of, lowest first.
    """

    values: dict[str, Any]
    choices: dict[str, str | None]
    settings: list[Setting] = field(default_factory=list)
    layers: list[Document] = field(default_factory=list)

    def place(self, key: tuple[str, ...]) -> str:
        """Where a value, or the nearest key above it, was set last."""
        for setting in reversed(self.settings):
            if setting.key == key[: len(setting.key)] or key == setting.key[: len(key)]:
                return setting.place
        for layer in reversed(self.layers):
            inner = inside(layer, key)
            if inner and lookup(layer.values, inner)[0]:
                return layer.place(inner)
        return "default"

    def is_set(self, key: tuple[str, ...]) -> bool:
        """Whether the user's file or the command line gives the key a value."""
        above = [setting for setting in self.settings if setting.key == key[: len(setting.key)] and not setting.delete]
        return any(lookup(setting.value, key[len(setting.key) :])[0] for setting in above)


def inside(layer: Document, key: tuple[str, ...]) -> tuple[str, ...]:
    """A key as it stands in a layer's file: a group's file holds its node without the group's own name."""
    group = layer.name.split("/")[1] if layer.name.count("/") == 2 else ""
    if group not in GROUPS:
        return key
    return key[1:] if key[:1] == (group,) else ()


@cache
def root_document(command: str) -> Document:
    """`conf/<command>.yaml`."""
    return read_document(conf_dir() / f"{command}.yaml", f"conf/{command}.yaml")


@cache
def choice_document(group: str, name: str) -> Document:
    """`conf/<group>/<name>.yaml`; empty for an entry without a file."""
    path = conf_file(group, name)
    return read_document(path, f"conf/{group}/{name}.yaml") if path else Document(f"{group} '{clean(name, 80)}'", {})


def own_choices(document: Document) -> dict[str, str]:
    """What a bundle's `defaults` list chooses: {"model": "lenet"} for `- override /model: lenet`."""
    found = {}
    for line in document.values.get("defaults") or []:
        for key, name in line.items() if isinstance(line, dict) else ():
            if match := _OVERRIDE.fullmatch(key):
                found[match.group(1)] = name
    return found


def read_config_file(path: Path, problems: Problems) -> list[Setting]:
    """The settings of a user's file, in its order.

    A group is a name, or a mapping of its keys: `model: resnet18`, or `model: {name: resnet18, variant: d2l}`.

    Raises:
        ConfigError: the file is not strict YAML.
    """
    document = read_document(path)
    settings: list[Setting] = []
    for key, value in document.values.items():
        if "." in key:
            nested = clean(key.replace(".", ": {", 1), 80)
            problems.add(f"{clean(key, 80)}: keys are nested in a file, {nested}: ...}} ({document.place((key,))})")
            continue
        grouped = key in GROUPS or key in BUNDLES
        pairs: Mapping[tuple[str, ...], Any] = {(key,): value}
        if grouped and isinstance(value, dict):
            pairs = {(key, name): item for name, item in value.items()}
        for path_, item in pairs.items():
            place = document.place(path_)
            try:
                settings += expand(Setting(path_, item, place))
            except ValueError as error:
                problems.add(f"{clean(key, 80)}: {error} ({place})")
    return settings


def lookup(values: Mapping[str, Any], key: tuple[str, ...]) -> tuple[bool, Any]:
    """Whether a nested mapping has a key, and its value."""
    found: Any = values
    for part in key:
        if not isinstance(found, Mapping) or part not in found:
            return False, None
        found = found[part]
    return True, found

"""Composes a config: shipped files, then a user's file, then the command line; every value keeps its place."""

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from d2lcli.config.assignment import apply_settings, complete
from d2lcli.config.base import shipped_config
from d2lcli.config.checks import check_values
from d2lcli.config.interpolation import resolve
from d2lcli.config.layers import Config, read_config_file
from d2lcli.config.overrides import Setting, read_overrides
from d2lcli.config.places import BUNDLES, conf_names
from d2lcli.config.problems import Problems
from d2lcli.config.schema import GROUPS, NULLABLE, is_choice
from d2lcli.errors import ConfigError, clean, nearest
from d2lcli.registry.options import show


def compose(overrides: Sequence[str], *, config_file: Path | None = None, command: str = "train") -> Config:
    """The config of a command.

    Args:
        overrides: KEY=VALUE words.
        config_file: a user's YAML file; the command line wins over it.
        command: whose table of contents, `conf/<command>.yaml`.

    Raises:
        ConfigError: everything that is wrong with it, each line with the place that it came from.
    """
    problems = Problems()
    settings = read_config_file(config_file, problems) if config_file is not None else []
    settings += read_overrides(overrides, problems)
    chosen, broken, values_set = choose(settings, problems)
    config = shipped_config(command, chosen)
    config.settings = settings
    apply_settings(config, values_set, broken, problems)
    bad = resolve(config.values, config.place, problems)
    complete(config)
    check_values(config.values, config.place, problems, skip=broken, bad=bad)
    problems.raise_any()
    return config


def from_values(values: Any, place: str = "config.yaml") -> Config:
    """A config that was saved: checked again as if a stranger had written it, which may be so.

    Raises:
        ConfigError: everything that is wrong with it.
    """
    problems = Problems()
    if not isinstance(values, dict):
        raise ConfigError(f"{place}: the top must be a mapping, KEY: VALUE")
    values = copy.deepcopy(values)
    broken: set[str] = set()
    choices: dict[str, str | None] = {}
    for group in GROUPS:
        node = values.get(group)
        name = node.get("name") if isinstance(node, dict) else None
        choices[group] = name if isinstance(name, str) else None
        if node is None and group == "init":
            continue
        if (reason := _choice_problem(group, name)) or not isinstance(node, dict):
            problems.add(f"{group}: {reason or 'not a mapping'} ({place})")
            broken.add(group)
    config = Config(values, choices)
    bad = resolve(values, lambda key: place, problems)
    if "hardware" not in values:
        values["hardware"] = {}
    complete(config, broken)
    check_values(values, lambda key: place, problems, skip=broken, bad=bad)
    problems.raise_any()
    return config


def choose(settings: Sequence[Setting], problems: Problems) -> tuple[dict[str, str | None], set[str], list[Setting]]:
    """Part the settings into choices of groups and bundles, and values; the groups whose choice is wrong are named."""
    chosen: dict[str, str | None] = {}
    broken: set[str] = set()
    values = []
    for setting in settings:
        group = setting.key[0]
        is_name = len(setting.key) == 2 and setting.key[1] == "name"
        if group not in (*GROUPS, *BUNDLES) or not (len(setting.key) == 1 or is_name):
            values.append(setting)
        elif len(setting.key) == 1 and isinstance(setting.value, dict) and not setting.delete:
            inner = [Setting((group, str(key)), item, setting.place) for key, item in setting.value.items()]
            more, bad, rest = choose(inner, problems)
            chosen |= more
            broken |= bad
            values += rest
        elif reason := _choice_problem(group, None if setting.delete else setting.value, len(setting.key) == 1):
            problems.add(
                f"{setting.dotted}: {reason} ({setting.place})", f"see: d2l list {group}" if group in GROUPS else ""
            )
            broken.add(group)
        else:
            chosen[group] = None if setting.delete else setting.value
            broken.discard(group)
    return {group: name for group, name in chosen.items() if group not in broken}, broken, values


def _choice_problem(group: str, name: Any, nullable: bool = False) -> str:
    """Why a group or bundle cannot have this choice; empty where it can."""
    if name is None and nullable and group in NULLABLE:
        return ""
    if not isinstance(name, str):
        return f"{show(name)} is not a name"
    names = list(conf_names(group)) if group in BUNDLES else GROUPS[group].names()
    if name in names or (group in GROUPS and is_choice(group, name)):
        return ""
    known = ", ".join(names[:12]) + (", ..." if len(names) > 12 else "")
    return f"unknown name '{clean(name, 80)}'{nearest(name, names)} (known: {known or 'none'})"

"""Puts settings into a composed config: which keys there are, and what an unknown one may have meant."""

import copy
from collections.abc import Collection, Mapping, Sequence
from functools import partial
from typing import Any

from d2lcli.config.layers import Config
from d2lcli.config.overrides import Setting
from d2lcli.config.places import BUNDLES
from d2lcli.config.problems import Problems
from d2lcli.config.schema import GROUPS, hardware_parameters, node_parameters, run_parameters
from d2lcli.errors import clean, nearest
from d2lcli.registry.options import show
from d2lcli.registry.signatures import MISSING, Parameter


def known_keys(config: Config) -> dict[tuple[str, ...], Parameter]:
    """Every key that this config may have, but for the groups' own."""
    keys: dict[tuple[str, ...], Parameter] = {(name,): parameter for name, parameter in run_parameters().items()}
    keys |= {("hardware", name): parameter for name, parameter in hardware_parameters().items()}
    for group in GROUPS:
        if name := config.choices[group]:
            keys |= {(group, key): parameter for key, parameter in node_parameters(group, name).items()}
    return keys


def apply_settings(config: Config, settings: Sequence[Setting], broken: set[str], problems: Problems) -> None:
    keys = known_keys(config)
    for setting in settings:
        key = setting.key
        if key[0] in broken:
            continue
        if key[:2] in keys or key[:1] in keys:
            if reason := _set(config.values, setting, key[:1] if key[:1] in keys else key[:2]):
                problems.add(f"{setting.dotted}: {reason} ({setting.place})")
        else:
            problems.add(partial(_unknown, setting, config, keys))


def _unknown(setting: Setting, config: Config, keys: Mapping[tuple[str, ...], Parameter]) -> str:
    return f"{setting.dotted}: {_why_unknown(setting.key, config, keys)} ({setting.place})"


def _why_unknown(key: tuple[str, ...], config: Config, keys: Mapping[tuple[str, ...], Parameter]) -> str:
    names = [".".join(name) for name in keys] + [*GROUPS, *BUNDLES]
    word = ".".join(key)[:100]
    if key[0] in GROUPS and config.choices[key[0]] is None:
        return f"there is no {key[0]} that could have this key; choose one with {key[0]}=NAME"
    what = "unknown key"
    if key[0] in GROUPS and len(key) > 1:
        what = f"unknown key of {key[0]} '{config.choices[key[0]]}'"
        names = [name for name in names if name.startswith(key[0] + ".")]
    if word.lower() in names:
        return f"{what}; did you mean '{word.lower()}'?"
    if hint := nearest(word, names):
        return what + hint
    last = [name for name in names if name.rpartition(".")[2] == key[-1]]
    return what + (f"; did you mean '{last[0]}'?" if last else "")


def _set(values: dict[str, Any], setting: Setting, known: tuple[str, ...]) -> str:
    """Store or take away one value below a known key; the reason why not."""
    node = values
    for depth, part in enumerate(setting.key[:-1], 1):
        inner = node.setdefault(part, {}) if depth > len(known) else node.get(part)
        if not isinstance(inner, dict):
            return f"'{clean('.'.join(setting.key[:depth]), 80)}' is a value and has no keys"
        node = inner
    last = setting.key[-1]
    if setting.delete:
        if setting.value is not None and node.get(last) != setting.value:
            return f"cannot take away {show(setting.value)}: the value is {show(node.get(last))}"
        node.pop(last, None)
    else:
        node[last] = copy.deepcopy(setting.value)
    return ""


def complete(config: Config, broken: Collection[str] = ()) -> None:
    """Give every key that is missing its default, and bring the keys into the order of the schema."""
    values = config.values
    for name, parameter in run_parameters().items():
        values.setdefault(name, parameter.default)
    nodes = {"hardware": hardware_parameters()}
    for group, choice in config.choices.items():
        if group in GROUPS and choice and group not in broken:
            nodes[group] = node_parameters(group, choice)
    for group, parameters in nodes.items():
        node = values[group]
        for key, parameter in parameters.items() if isinstance(node, dict) else ():
            if key not in node:
                default = parameter.default if parameter.default is not MISSING else None
                node[key] = list(default) if isinstance(default, tuple) else default
    order = [*run_parameters(), *GROUPS, "hardware"]
    config.values = {key: values[key] for key in order if key in values} | {
        key: value for key, value in values.items() if key not in order
    }

"""Which layer set a value, and what two configs differ in."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from d2lcli.config.assignment import known_keys
from d2lcli.config.composition import compose
from d2lcli.config.layers import Config, inside, lookup
from d2lcli.config.places import BUNDLES
from d2lcli.config.schema import GROUPS
from d2lcli.errors import ConfigError, clean, nearest
from d2lcli.registry import MODELS
from d2lcli.registry.signatures import MISSING


@dataclass(frozen=True)
class Layer:
    """One layer's say: where, and the value."""

    place: str
    value: Any


def explain(key: str, overrides: Sequence[str], config_file: Path | None = None) -> list[Layer]:
    """Every layer that gives `key` a value, lowest first; the last one wins.

    Raises:
        ConfigError: the key is unknown, or the config is wrong.
    """
    config = compose(overrides, config_file=config_file)
    path = tuple(key.split("."))
    if path[0] in (*GROUPS, *BUNDLES) and (len(path) == 1 or path[1:] == ("name",)):
        return _choice_layers(path[0], config)
    keys = known_keys(config)
    if path not in keys:
        raise ConfigError(f"{clean(key, 80)}: unknown key{nearest(key, ['.'.join(name) for name in keys])}")
    default = keys[path].default
    found = [] if default is MISSING else [Layer("default", default)]
    for document in config.layers:
        inner = inside(document, path)
        has, value = lookup(document.values, inner) if inner else (False, None)
        if has and (document.name.split("/")[1] not in BUNDLES or _survives(config, path, value)):
            found.append(Layer(document.place(inner), value))
    for setting in config.settings:
        has, value = lookup({setting.key[-1]: setting.value}, path[len(setting.key) - 1 :])
        if has and setting.key == path[: len(setting.key)] and not setting.delete:
            found.append(Layer(setting.place, value))
    if not found or found[-1].value != lookup(config.values, path)[1]:
        found.append(Layer("composed", lookup(config.values, path)[1]))
    return found


def _survives(config: Config, path: tuple[str, ...], value: Any) -> bool:
    """A bundle's value counts unless it was meant for an entry that was not chosen in the end."""
    return any(setting.key[:2] == path[:2] for setting in config.settings) or lookup(config.values, path)[1] == value


def _choice_layers(group: str, config: Config) -> list[Layer]:
    found = []
    for document in config.layers:
        for line in document.values.get("defaults") or []:
            for key, name in line.items() if isinstance(line, Mapping) else ():
                if key.removeprefix("override").strip().removeprefix("/") == group:
                    found.append(Layer(document.place(("defaults",)), name))
    for setting in config.settings:
        if setting.key in ((group,), (group, "name")):
            value = setting.value.get("name") if isinstance(setting.value, Mapping) else setting.value
            found.append(Layer(setting.place, value))
    if not found or found[-1].value != config.choices[group]:
        model, data = (f"{kind} '{config.choices[kind]}'" for kind in ("model", "data"))
        by_model = MODELS.describe(config.choices["model"] or "").brings.get(group) == config.choices[group]
        found.append(Layer(model if by_model else data, config.choices[group]))
    return found


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    """The keys whose values differ, dotted, with both values; None stands for a key that is missing."""
    left, right = dict(_leaves(old)), dict(_leaves(new))
    keys = [*left, *(key for key in right if key not in left)]
    return [(key, left.get(key), right.get(key)) for key in keys if not _same(left.get(key), right.get(key))]


def _same(left: Any, right: Any) -> bool:
    return type(left) is type(right) and bool(left == right)


def _leaves(values: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", list(value) if isinstance(value, tuple) else value

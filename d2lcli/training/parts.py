"""Builds one entry of a registry, and says which key of the config a refusal is about."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from d2lcli.errors import ConfigError
from d2lcli.registry.core import Registry


@contextmanager
def naming_key(key: str) -> Iterator[None]:
    """Let a ValueError within this block name the key of the config that it is about."""
    try:
        yield
    except ValueError as error:
        raise ConfigError(f"{key}: {error}") from None


def build_part(registry: Registry, node: Mapping[str, Any], **live: Any) -> Any:
    """Build the entry that `node` names; live objects go to the builders that have a place for them."""
    name = node["name"]
    options = {key: value for key, value in node.items() if key != "name"}
    options |= {key: value for key, value in live.items() if key in registry.parameters(name)}
    try:
        return registry.build(name, **options)
    except ValueError as error:
        raise ConfigError(f"{registry.kind} '{name}': {error}") from None

"""Entries from outside the product: entry points of installed packages, and modules named by `--plugin`.

A plugin is code that runs with your rights.  It is loaded only when you name it: `--plugin MODULE`, or a name in a
config that no entry of the product has.  An entry point has the form of a table line, in the group `d2l.KIND`:

    [project.entry-points."d2l.model"]
    my_net = "my_package.nets:my_net"
"""

import importlib
from functools import cache
from importlib.metadata import EntryPoint, entry_points

from d2lcli.errors import ConfigError, clean
from d2lcli.registry.core import Registry

PREFIX = "d2l."
imported: list[str] = []  # the modules that this process was told to import, for the processes that it starts


def import_plugin(module: str) -> None:
    """Import a module that registers entries.

    Raises:
        ConfigError: there is no such module, or it fails.
    """
    if not all(part.isidentifier() for part in module.split(".")):
        raise ConfigError(f"--plugin: '{clean(module, 80)}' is not a module name", "write it as in an import: my.nets")
    try:
        importlib.import_module(module)
        imported.append(module)
    except ConfigError:
        raise
    except Exception as error:
        raise ConfigError(_failure(module, error)) from error


def outside_names(registry: Registry) -> dict[str, EntryPoint]:
    """The entry points of a registry's kind, by name, without those of a built-in's name; none is imported."""
    return {name: point for name, point in _points(registry.kind).items() if name not in registry}


def hidden_names(registry: Registry) -> dict[str, EntryPoint]:
    """The entry points that cannot be had, because an entry of the product has their name."""
    points = _points(registry.kind)
    return {name: point for name, point in points.items() if name in registry and not registry.describe(name).plugin}


def load_named(registry: Registry, name: str) -> bool:
    """Let the entry point called `name` join the registry; whether there is one.

    Its target is read here, which imports its module: someone has asked for this name.

    Raises:
        ConfigError: the plugin cannot be imported, or its attribute cannot be called.
    """
    point = outside_names(registry).get(name)
    if point is None:
        return False
    try:
        builder = point.load()
    except Exception as error:
        raise ConfigError(_failure(point.value, error, name)) from error
    if not callable(builder):
        raise ConfigError(f"plugin {clean(point.value, 80)} of {registry.kind} '{name}' is not callable")
    summary = (getattr(builder, "__doc__", None) or "").strip().partition("\n")[0]
    origin = point.dist.name if point.dist else point.module
    registry.register(name, builder, clean(summary) or f"From {origin}", plugin=origin)
    return True


def _failure(target: str, error: BaseException, name: str = "") -> str:
    what = f"plugin {clean(target, 80)}" + (f" of '{clean(name, 80)}'" if name else "")
    return f"{what} cannot be loaded: {type(error).__name__}: {clean(error)}"


@cache
def _points(kind: str) -> dict[str, EntryPoint]:
    found: dict[str, EntryPoint] = {}
    for point in entry_points(group=PREFIX + kind):
        found.setdefault(point.name, point)
    return found

"""Search algorithms by name."""

from d2lcli.registry.core import Registry

SEARCHERS = Registry(
    "search",
    {},
)

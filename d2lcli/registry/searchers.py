"""Search algorithms by name."""

from d2lcli.registry.core import Entry, Registry

SEARCHERS = Registry(
    "search",
    {
    },
)

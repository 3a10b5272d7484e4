"""Decoders by name."""

from d2lcli.registry.core import Entry, Registry

DECODERS = Registry(
    "decoder",
    {
    },
)

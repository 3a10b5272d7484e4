"""Decoders by name."""

from d2lcli.registry.core import Registry

DECODERS = Registry(
    "decoder",
    {},
)

"""Tokenizers by name."""

from d2lcli.registry.core import Registry

TOKENIZERS = Registry(
    "tokenizer",
    {},
)

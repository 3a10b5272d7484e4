"""Tokenizers by name."""

from d2lcli.registry.core import Entry, Registry

TOKENIZERS = Registry(
    "tokenizer",
    {
    },
)

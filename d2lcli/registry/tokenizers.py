"""Tokenizers by name."""

from d2lcli.registry.core import Entry, Registry

TOKENIZERS = Registry(
    "tokenizer",
    {
        "char": Entry("d2lcli.data.tokenizers.char:char", "Characters", source="d2l 9.2"),
        "word": Entry("d2lcli.data.tokenizers.word:word", "Words between white space", source="d2l 9.2"),
    },
)

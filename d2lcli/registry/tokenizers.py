"""Tokenizers by name."""

from d2lcli.registry.core import Entry, Registry

TOKENIZERS = Registry(
    "tokenizer",
    {
        "char": Entry("d2lcli.data.tokenizers.char:char", "Characters", source="d2l 9.2"),
        "word": Entry("d2lcli.data.tokenizers.word:word", "Words between white space", source="d2l 9.2"),
        "lower_word": Entry(
            "d2lcli.data.tokenizers.lower_word:lower_word", "Words in lower case, punctuation apart", source="d2l 16.1"
        ),
        "bpe": Entry(
            "d2lcli.data.tokenizers.bpe:bpe", "Byte-pair encoding over bytes: any text, without loss", source="d2l 15.6"
        ),
        "wordpiece": Entry(
            "d2lcli.data.tokenizers.wordpiece:wordpiece", "WordPiece: words in pieces, as in BERT", source="d2l 15.6"
        ),
    },
)

"""Words as tokens (d2l 9.2)."""

from collections.abc import Sequence

from d2lcli.data.tokenizers.base import Tokenizer


class WordTokenizer(Tokenizer):
    """What stands between white space is a token.  Decoding puts one space between tokens: other space is not kept."""

    name = "word"

    def split(self, text: str) -> list[str]:
        return text.split()

    def join(self, tokens: Sequence[str]) -> str:
        return " ".join(tokens)

    def gap(self, tokens: Sequence[str]) -> str:
        return " " if tokens else ""


def word(min_freq: int = 1, reserved: Sequence[str] = ()) -> WordTokenizer:
    """A tokenizer of words, to be trained or loaded.

    Args:
        min_freq: a word that occurs less often in the training text becomes <unk>.
        reserved: special tokens beside <unk>, in the order of their ids from 1 on.

    Raises:
        ValueError: a value out of range.
    """
    return WordTokenizer(min_freq, reserved)

"""Characters as tokens (d2l 9.2)."""

from collections.abc import Sequence

from d2lcli.data.tokenizers.base import Tokenizer


class CharTokenizer(Tokenizer):
    """Every Unicode code point is a token.  Decoding gives the text back exactly, if all its characters are known."""

    name = "char"

    def split(self, text: str) -> list[str]:
        return list(text)

    def join(self, tokens: Sequence[str]) -> str:
        return "".join(tokens)


def char(min_freq: int = 1, reserved: Sequence[str] = ()) -> CharTokenizer:
    """A tokenizer of characters, to be trained or loaded.

    Args:
        min_freq: a character that occurs less often in the training text becomes <unk>.
        reserved: special tokens beside <unk>, in the order of their ids from 1 on.

    Raises:
        ValueError: a value out of range.
    """
    return CharTokenizer(min_freq, reserved)

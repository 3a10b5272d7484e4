"""Words in lower case with punctuation apart, as published word vectors are spelt (Pennington et al., 2014)."""

import re
from collections.abc import Sequence

from d2lcli.data.tokenizers.base import Tokenizer

# In turn: a word before n't; n't itself; 's and its like; any other word; a single mark.
PARTS = re.compile(r"\w+(?=n't\b)|n't\b|'(?:s|m|d|re|ve|ll)\b|\w+|[^\w\s]")


class LowerWordTokenizer(Tokenizer):
    """Letters and digits side by side are a token, and each mark is one by itself: "It's good." is it, 's, good, dot.

    Contractions are parted as in the Penn Treebank: don't is do and n't.  Decoding puts one space between tokens.
    """

    name = "lower_word"

    def split(self, text: str) -> list[str]:
        return PARTS.findall(text.lower())

    def join(self, tokens: Sequence[str]) -> str:
        return " ".join(tokens)

    def gap(self, tokens: Sequence[str]) -> str:
        return " " if tokens else ""


def lower_word(min_freq: int = 1, reserved: Sequence[str] = ()) -> LowerWordTokenizer:
    """A tokenizer of words in lower case, to be trained or loaded.

    Args:
        min_freq: a word that occurs less often in the training text becomes <unk>.
        reserved: special tokens beside <unk>, in the order of their ids from 1 on.

    Raises:
        ValueError: a value out of range.
    """
    return LowerWordTokenizer(min_freq, reserved)

"""Unigram, the tokens of T5: the likeliest way to cut a word (Kudo, 2018)."""

import base64
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from d2lcli.data.tokenizers.charsmap import Charsmap
from d2lcli.data.tokenizers.parting import SPACE
from d2lcli.data.tokenizers.subwords import SubwordTokenizer
from d2lcli.errors import DataError

MARK = "\u2581"  # stands for the space before a word
PENALTY = 10.0  # by how much an unknown character is less likely than the rarest token, as log-probability
_WORDS = re.compile(f"[^{SPACE}]+")
_MARKED = re.compile(f"{MARK}[^{MARK}]*|[^{MARK}]+")


@dataclass(frozen=True)
class Pieces:
    """What a published vocabulary holds.

    Attributes:
        tokens: in the order of their ids.
        scores: their log-probabilities.
        special: names of special tokens.
        unknown: which of them stands for unknown characters.
        charsmap: of the normaliser, see `Charsmap`.
    """

    tokens: Sequence[str]
    scores: Sequence[float]
    special: Sequence[str]
    unknown: str
    charsmap: bytes = b""


class UnigramTokenizer(SubwordTokenizer):
    """A word becomes those tokens y_1 ... y_k that make it up with the largest sum of log P(y_i).

    They are found by Viterbi's algorithm in time that grows with the length of the word.  Among equal sums the one wins
    whose last token is the longest.  A word is what stands between white space, with U+2581 in front for the space;
    so decoding puts one space between words, whatever stood there.  Before that the text is normalised by a table.
    Characters that no token has are unknown; several in a row are one <unk>.

    The ids are those of SentencePiece, but for U+0085, which is white space here.  The library `tokenizers` has it so,
    too, but of a letter with several accents, or of Hangul in single letters, it replaces less.

    This is for published vocabularies, and cannot be trained.
    """

    name = "unigram"
    rules = ("t5",)
    rule = "t5"

    def __init__(self, min_freq: int = 1, reserved: Sequence[str] = ()) -> None:
        super().__init__(min_freq, reserved)
        self._scores: tuple[float, ...] = ()
        self._table = b""
        self._normalised = Charsmap()
        self._known: dict[str, float] = {}  # log-probabilities of the tokens; -inf for the beginnings of others
        self._unknown = 0.0

    def train(self, texts: Iterable[str]) -> None:
        """Refused.

        Raises:
            DataError: always.
        """
        raise DataError(
            "the tokenizer 'unigram' is for published vocabularies and cannot be trained",
            "train bpe or wordpiece: data.tokenizer=bpe",
        )

    def join(self, tokens: Sequence[str]) -> str:
        first = "".join(tokens[:1]).replace(MARK, "")
        return first + "".join(tokens[1:]).replace(MARK, " ")

    def gap(self, tokens: Sequence[str]) -> str:
        return " " if tokens and tokens[0].startswith(MARK) else ""

    def _pieces(self, text: str) -> list[str]:
        """The words."""
        text = self._normalised(text)
        words = [word if word[0] == MARK else MARK + word for word in _WORDS.findall(text)]
        return words if MARK not in text else [part for word in words for part in _MARKED.findall(word)]

    def _cut(self, piece: str) -> list[str]:
        """The tokens of a word; unknown characters in a row stand there as one."""
        size, get = len(piece), self._known.get
        sums = [0.0] + [-math.inf] * size  # of the best tokens up to each place
        starts = [0] * (size + 1)  # where the last of them begins
        unknown = [False] * (size + 1)  # whether that is an unknown character
        for start in range(size):
            here, single = sums[start], False
            for end in range(start + 1, size + 1):
                score = get(piece[start:end])
                if score is None:
                    break
                if here + score > sums[end]:
                    sums[end], starts[end], unknown[end] = here + score, start, False
                if end == start + 1:
                    single = score > -math.inf
            if not single and here + self._unknown > sums[start + 1]:
                sums[start + 1], starts[start + 1], unknown[start + 1] = here + self._unknown, start, True
        found: list[str] = []
        end = size
        while end:
            start = starts[end]
            while unknown[end] and unknown[start]:
                start -= 1
            found.append(piece[start:end])
            end = start
        return found[::-1]

    def _more_state(self) -> dict[str, Any]:
        return {"scores": list(self._scores), "charsmap": base64.b64encode(self._table).decode("ascii")}

    def _take_more(self, state: Mapping[str, Any]) -> None:
        scores, table = state["scores"], state["charsmap"]
        if not isinstance(scores, list) or len(scores) != len(self.tokens) or not all(map(_is_score, scores)):
            raise ValueError("scores must be a list of finite numbers, one for each token")
        if not isinstance(table, str):
            raise ValueError("charsmap must be a text")
        if "" in self.tokens:
            raise ValueError("a token must have at least one character")
        self._scores, self._table = tuple(map(float, scores)), base64.b64decode(table, validate=True)
        self._normalised = Charsmap(self._table)
        plain = self.vocabulary.plain
        beginnings = {part for token in plain for part in accumulate(token)}
        self._known = {part: -math.inf for part in beginnings} | {t: self._scores[i] for t, i in plain.items()}
        self._unknown = min(self._scores) - PENALTY


def _is_score(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)

"""Tokenizers whose tokens stay within the pieces of a text: each distinct piece is cut once, however often it comes."""

from abc import abstractmethod
from collections.abc import Sequence
from itertools import chain

from d2lcli.data.tokenizers.base import Tokenizer
from d2lcli.data.tokenizers.vocabulary import Vocabulary

MOST_REMEMBERED = 1 << 18  # pieces


class SubwordTokenizer(Tokenizer):
    """See `Tokenizer`; a subclass parts a text into pieces, and cuts each piece by itself."""

    _remembered: tuple[Vocabulary, dict[str, Sequence[int]]] | None = None

    @abstractmethod
    def _pieces(self, text: str) -> list[str]:
        """The pieces of a text."""

    @abstractmethod
    def _cut(self, piece: str) -> Sequence[str]:
        """The tokens of a piece, whether they are known or not."""

    def _numbers_of(self, pieces: Sequence[str]) -> Sequence[Sequence[int]]:
        """The ids of the tokens of each piece."""
        plain, unknown = self.vocabulary.plain, self.vocabulary.unknown
        if unknown is None:
            return [[plain[token] for token in self._cut(piece)] for piece in pieces]
        return [[plain.get(token, unknown) for token in self._cut(piece)] for piece in pieces]

    def split(self, text: str) -> list[str]:
        pieces = self._pieces(text)
        tokens = {piece: self._cut(piece) for piece in dict.fromkeys(pieces)}
        return [token for piece in pieces for token in tokens[piece]]

    def encode(self, text: str) -> list[int]:
        vocabulary, pieces = self.vocabulary, self._pieces(text)
        if self._remembered is None or self._remembered[0] is not vocabulary:
            self._remembered = vocabulary, {}
        known = self._remembered[1]
        new = [piece for piece in dict.fromkeys(pieces) if piece not in known]
        known.update(zip(new, self._numbers_of(new)))
        ids = list(chain.from_iterable(map(known.__getitem__, pieces)))
        if len(known) > MOST_REMEMBERED:
            known.clear()
        return ids

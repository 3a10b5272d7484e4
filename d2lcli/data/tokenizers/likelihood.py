"""Which pieces WordPiece learns: merges by the likelihood of the corpus (Schuster and Nakajima, 2012), or by counts."""

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from d2lcli.data.tokenizers.merging import Pair, Words, commonest_merges

INSIDE = "##"  # at the front of a piece that does not begin a word


def joined(pair: Pair) -> str:
    """The piece that two neighbours make."""
    return pair[0] + pair[1].removeprefix(INSIDE)


def commonest_pieces(words: Words, room: int, min_freq: int, banned: Sequence[str] = ()) -> list[str]:
    """New pieces by merging the commonest pair each time, as in byte-pair encoding; see `likeliest_pieces`.

    So the library `tokenizers` trains WordPiece, and common words become pieces of their own.
    """
    return [joined(pair) for pair in commonest_merges(words, room, min_freq, banned, joined)]


def likeliest_pieces(words: Words, room: int, min_freq: int, banned: Sequence[str] = ()) -> list[str]:
    """New pieces, in the order in which they are made.

    The pair ab with the greatest score is merged,

        score(ab) = c(ab) / (c(a) c(b)),

    c being occurrences in the corpus, of several such pairs the one seen first.  A common pair of common pieces scores
    low: what counts is how much oftener the two are neighbours than chance would have it.

    Args:
        words: the corpus; its symbols are merged on the way.
        room: new pieces at the most.
        min_freq: occurrences that a pair needs.
        banned: what no pair may be joined to.
    """
    scores = _Scores(words, banned)
    found: dict[str, None] = {}
    while len(found) < room:
        best = scores.best(min_freq)
        if not best:
            break
        pair = min(best, key=words.first)
        found[joined(pair)] = None
        scores.update(words.merge(pair, joined(pair)), (*pair, joined(pair)))
    return list(found)


class _Scores:
    """The scores of all pairs as arrays: a merge changes those of every pair that shares a symbol with it.

    Args:
        words: where the counts come from.
        banned: what no pair may be joined to.
    """

    def __init__(self, words: Words, banned: Sequence[str]) -> None:
        self._words, self._banned = words, set(banned)
        self._collect()

    def _collect(self) -> None:
        """Give every present pair a row."""
        self._pairs: list[Pair] = []
        self._rows: dict[Pair, int] = {}
        self._symbols: dict[str, int] = {}
        self._ends: NDArray[np.int64] = np.zeros((2, 1024), np.int64)  # symbols of each pair, by number
        self._counts: NDArray[np.float64] = np.zeros(1024)
        self._totals: NDArray[np.float64] = np.ones(1024)
        self.update(self._words.counts, self._words.totals)

    def update(self, pairs: Iterable[Pair], symbols: Iterable[str]) -> None:
        """Take over the counts of these pairs and symbols."""
        for symbol in symbols:
            number = self._number(symbol)
            self._totals[number] = max(self._words.totals[symbol], 1)
        for pair in pairs:
            row, count = self._rows.get(pair), self._words.counts.get(pair, 0)
            if row is None and count and joined(pair) not in self._banned:
                row = self._add(pair)
            if row is not None:
                self._counts[row] = count
        if len(self._pairs) > 10_000 + 2 * len(self._words.counts):
            self._collect()

    def best(self, min_freq: int) -> list[Pair]:
        """The pairs of the greatest score; none if no pair occurs min_freq times."""
        size = len(self._pairs)
        counts, ends = self._counts[:size], self._ends[:, :size]
        scores = np.where(counts >= min_freq, counts / (self._totals[ends[0]] * self._totals[ends[1]]), 0.0)
        if not size or not scores.max():
            return []
        return [self._pairs[row] for row in np.flatnonzero(scores == scores.max())]

    def _add(self, pair: Pair) -> int:
        row = self._rows[pair] = len(self._pairs)
        self._pairs.append(pair)
        if row == len(self._counts):
            self._counts = np.concatenate([self._counts, np.zeros(row)])
            self._ends = np.concatenate([self._ends, np.zeros((2, row), np.int64)], axis=1)
        self._ends[:, row] = self._number(pair[0]), self._number(pair[1])
        return row

    def _number(self, symbol: str) -> int:
        number = self._symbols.setdefault(symbol, len(self._symbols))
        if number == len(self._totals):
            self._totals = np.concatenate([self._totals, np.ones(number)])
        return number

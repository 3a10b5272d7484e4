"""Words as symbols that grow by merging neighbours, for byte-pair encoding and WordPiece."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from heapq import heapify, heappop, heappush
from itertools import pairwise

Pair = tuple[str, str]


class Words:
    """The distinct words of a corpus, with the counts of their pairs kept up to date while pairs are merged.

    Only the words that hold a merged pair are looked at, so that all merges together cost about as much as a few
    passes over the distinct words.  The words are in a fixed order, by falling count and then by code points: what is
    "seen first" does not depend on the order of the texts.

    Args:
        counts: occurrences of each word.
        cut: a word's first symbols.

    Attributes:
        symbols: the present symbols of each word.
        counts: occurrences of each pair of neighbours in the corpus, none of them 0.
        totals: occurrences of each symbol in the corpus.
    """

    def __init__(self, counts: Mapping[str, int], cut: Callable[[str], Sequence[str]]) -> None:
        order = sorted(counts, key=lambda word: (-counts[word], word))
        self.symbols: list[Sequence[str]] = [cut(word) for word in order]
        self.counts: Counter[Pair] = Counter()
        self.totals: Counter[str] = Counter()
        self._weights = [counts[word] for word in order]
        self._holders: defaultdict[Pair, set[int]] = defaultdict(set)
        for place, (symbols, weight) in enumerate(zip(self.symbols, self._weights)):
            for symbol in symbols:
                self.totals[symbol] += weight
            for pair in pairs(symbols):
                self.counts[pair] += weight
                self._holders[pair].add(place)

    def first(self, pair: Pair) -> tuple[int, int]:
        """Where a pair occurs first: the word, and the characters before the pair within the word."""
        place = min(self._holders[pair])
        before = 0
        for here in pairs(self.symbols[place]):
            if here == pair:
                break
            before += len(here[0])
        return place, before

    def merge(self, pair: Pair, joined: str) -> set[Pair]:
        """Put the symbol `joined` in place of the pair everywhere; the pairs whose counts have changed."""
        changed: set[Pair] = set()
        for place in self._holders.pop(pair):
            old, weight = self.symbols[place], self._weights[place]
            new = self.symbols[place] = merged(old, pair, joined)
            number = weight * (len(old) - len(new))
            self.totals[joined] += number
            for symbol in pair:
                self.totals[symbol] -= number
            before, after = set(pairs(old)), set(pairs(new))
            for gone in pairs(old):
                self.counts[gone] -= weight
            for here in pairs(new):
                self.counts[here] += weight
            for gone in before - after - {pair}:
                self._holders[gone].discard(place)
            for here in after - before:
                self._holders[here].add(place)
            changed |= before
            changed |= after
        for gone in changed:
            if not self.counts[gone]:
                del self.counts[gone]
                self._holders.pop(gone, None)
        return changed


def pairs(symbols: Sequence[str]) -> Iterator[Pair]:
    """The neighbours, from left to right."""
    return pairwise(symbols)


def merged(symbols: Sequence[str], pair: Pair, joined: str) -> list[str]:
    """The symbols with `joined` in place of each occurrence of the pair, from left to right."""
    left, right = pair
    found: list[str] = []
    place, last = 0, len(symbols) - 1
    while place <= last:
        if symbols[place] == left and place < last and symbols[place + 1] == right:
            found.append(joined)
            place += 2
        else:
            found.append(symbols[place])
            place += 1
    return found


def concatenated(pair: Pair) -> str:
    """Both symbols, one behind the other."""
    return pair[0] + pair[1]


def commonest_merges(
    words: Words,
    room: int,
    min_freq: int,
    banned: Sequence[str] = (),
    join: Callable[[Pair], str] = concatenated,
) -> list[Pair]:
    """The pairs to merge, in order: always the commonest, of several the one seen first.

    The heap holds each pair with a count and a place that may be out of date, but never too bad, as a pair becomes
    rarer and is seen later while others are merged: what comes out on top is checked, and put back if it has changed.

    Args:
        words: the corpus; its symbols are merged on the way.
        room: new tokens at the most.
        min_freq: occurrences that a pair needs.
        banned: what no pair may be joined to.
        join: the symbol that two neighbours make.
    """
    heap = [(-count, -1, -1, pair) for pair, count in words.counts.items()]
    heapify(heap)
    made: dict[str, None] = {}
    found: dict[Pair, None] = {}  # a pair can come up again, when another pair makes one of its parts anew
    while heap and len(made) < room:
        entry = heappop(heap)
        pair, count = entry[3], words.counts.get(entry[3], 0)
        joined = join(pair)
        if count < min_freq or joined in banned:
            continue
        now = (-count, *words.first(pair), pair)
        if now != entry:
            heappush(heap, now)
            continue
        made[joined] = found[pair] = None
        for new in words.merge(pair, joined):
            if joined in new and new in words.counts:
                heappush(heap, (-words.counts[new], -1, -1, new))
    return list(found)


def apply_merges(symbols: Sequence[str], ranks: Mapping[Pair, int]) -> list[str]:
    """The symbols after all merges that apply to them: as long as there is one, the earliest learnt, everywhere.

    The places of each pair are kept, so that n symbols take n log n steps.  A symbol that is merged into the one before
    it becomes empty, and is stepped over.

    Args:
        symbols: of a word.
        ranks: of the pairs, the earliest learnt first.
    """
    here, end = list(symbols), len(symbols)
    before, after = list(range(-1, end - 1)), list(range(1, end + 1))
    places: defaultdict[Pair, list[int]] = defaultdict(list)
    for place, pair in enumerate(pairs(symbols)):
        if pair in ranks:
            places[pair].append(place)
    heap = [(ranks[pair], pair) for pair in places]
    heapify(heap)
    while heap:
        pair = heappop(heap)[1]
        for place in sorted(places.pop(pair, ())):
            right = after[place]
            if right == end or (here[place], here[right]) != pair:
                continue  # a merge has taken one of the two since
            here[place], here[right] = here[place] + here[right], ""
            after[place] = after[right]
            if after[place] < end:
                before[after[place]] = place
            for left in (before[place], place):
                if left >= 0 and after[left] < end and (new := (here[left], here[after[left]])) in ranks:
                    heappush(heap, (ranks[new], new))
                    places[new].append(left)
    return [symbol for symbol in here if symbol]

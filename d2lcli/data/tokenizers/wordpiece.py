"""WordPiece, the tokens of BERT (Schuster and Nakajima, 2012; Devlin et al., 2019)."""

import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from d2lcli.data.tokenizers.base import Tokenizer, is_count
from d2lcli.data.tokenizers.likelihood import INSIDE, likeliest_pieces
from d2lcli.data.tokenizers.merging import Words
from d2lcli.data.tokenizers.vocabulary import UNKNOWN, Vocabulary
from d2lcli.errors import DataError, clean

LONGEST_LEARNT = 100  # characters of a word; BERT knows no longer ones
MOST_REMEMBERED = 1 << 18  # words
# Chinese characters, each of them a word.
IDEOGRAPHS = (
    (0x4E00, 0x9FFF), (0x3400, 0x4DBF), (0x20000, 0x2A6DF), (0x2A700, 0x2B73F), (0x2B740, 0x2B81F), (0x2B820, 0x2CEAF),
    (0xF900, 0xFAFF), (0x2F800, 0x2FA1F),
)  # fmt: skip


class WordPieceTokenizer(Tokenizer):
    """Words cut into the longest pieces known, from left to right; `##` marks pieces that do not begin a word.

    A word is what stands between white space; every punctuation mark and every Chinese character is a word by itself,
    and control characters are dropped.  A word that cannot be cut into known pieces is <unk> as a whole.  Decoding puts
    one space between words, so that "it's" comes back as "it ' s": which space there was, the tokens do not tell.

    Args:
        vocab_size: tokens at the most, with the special tokens; the commonest characters come first.
        min_freq: a character or a pair that occurs less often is left out.
        reserved: see Tokenizer.
        lower: drop capitals and accents.

    Raises:
        ValueError: a value out of range.
    """

    name = "wordpiece"

    def __init__(
        self, vocab_size: int = 1000, min_freq: int = 1, reserved: Sequence[str] = (), lower: bool = True
    ) -> None:
        super().__init__(min_freq, reserved)
        self.vocab_size, self.lower = vocab_size, lower
        self._known: _Known | None = None
        self._room()

    def _room(self) -> int:
        room = self.vocab_size - len(self.special)
        if room < 1:
            raise ValueError(f"vocab_size={self.vocab_size} must be at least {len(self.special) + 1}")
        return room

    def split(self, text: str) -> list[str]:
        """The pieces of a text; a word that cannot be cut stands there whole."""
        if self._known is None or self._known.vocabulary is not self.vocabulary:
            self._known = _Known(self.vocabulary, self.lower)
        return [piece for chunk in text.split() for piece in self._known.pieces_of(chunk)]

    def join(self, tokens: Sequence[str]) -> str:
        return " ".join(tokens).replace(f" {INSIDE}", "").removeprefix(INSIDE)

    def gap(self, tokens: Sequence[str]) -> str:
        return "" if not tokens or tokens[0].startswith(INSIDE) else " "

    def _pieces(self, text: str) -> list[str]:
        return text.split()

    def _learn(self, counts: Counter[str]) -> Vocabulary:
        words: Counter[str] = Counter()
        for chunk, count in counts.items():
            for word in words_of(chunk, self.lower):
                words[word] += count
        alphabet = self._alphabet(words)
        known = {
            word: count for word, count in words.items()
            if len(word) <= LONGEST_LEARNT and alphabet.issuperset(characters(word))
        }  # fmt: skip
        room = self._room() - len(alphabet)
        found = likeliest_pieces(Words(known, characters), room, self.min_freq, self.special)
        return self._counted(words, alphabet.union(found))

    def _alphabet(self, words: Mapping[str, int]) -> set[str]:
        """The commonest characters, those inside of words apart from those that begin one."""
        if not words:
            raise DataError("the training text holds no tokens", "give a text file that is not empty")
        totals: Counter[str] = Counter()
        for word, count in words.items():
            for character in characters(word):
                totals[character] += count
        enough = [each for each in totals if totals[each] >= self.min_freq and each not in self.special]
        if not enough:
            most = max(totals.values())
            raise DataError(f"no token of the training text occurs min_freq={self.min_freq} times; the most is {most}")
        return set(sorted(enough, key=lambda each: (-totals[each], each))[: self._room()])

    def _counted(self, words: Mapping[str, int], pieces: set[str]) -> Vocabulary:
        """The vocabulary by falling count."""
        known = _Known(Vocabulary(self.special, (*self.special, *pieces), (0,) * (len(self.special) + len(pieces))))
        totals: Counter[str] = Counter()
        for word, count in words.items():
            for piece in known.cut(word):
                totals[piece if piece in pieces else UNKNOWN] += count
        ordered = sorted(pieces, key=lambda piece: (-totals[piece], piece))
        tokens = (*self.special, *ordered)
        return Vocabulary(self.special, tokens, tuple(totals[token] for token in tokens))

    def _more_state(self) -> dict[str, Any]:
        return {"vocab_size": self.vocab_size, "lower": self.lower}

    def _take_more(self, state: Mapping[str, Any]) -> None:
        if not is_count(state["vocab_size"], len(self.tokens)):
            raise ValueError(f"vocab_size must be an integer of at least {len(self.tokens)}, the number of tokens")
        if not isinstance(state["lower"], bool):
            raise ValueError("lower must be true or false")
        for token in self.tokens[len(self.special) :]:
            body = token.removeprefix(INSIDE)
            if words_of(body, state["lower"]) != [body]:
                raise ValueError(f"'{clean(token, 80)}' is not a single token")
        self.vocab_size, self.lower = state["vocab_size"], state["lower"]


class _Known:
    """The pieces of a vocabulary, and how words that have been met are cut into them."""

    def __init__(self, vocabulary: Vocabulary, lower: bool = False) -> None:
        self.vocabulary, self._lower = vocabulary, lower
        self._pieces = frozenset(vocabulary.tokens[len(vocabulary.special) :])
        self._longest = max(map(len, self._pieces), default=0)
        self._remembered: dict[str, list[str]] = {}

    def pieces_of(self, chunk: str) -> list[str]:
        """The pieces of what stands between white space."""
        found = self._remembered.get(chunk)
        if found is None:
            if len(self._remembered) >= MOST_REMEMBERED:
                self._remembered.clear()
            found = [piece for word in words_of(chunk, self._lower) for piece in self.cut(word)]
            self._remembered[chunk] = found
        return found

    def cut(self, word: str) -> list[str]:
        """The longest piece that begins the word, then the longest of the rest; the word itself if there is none."""
        found: list[str] = []
        rest = word
        while rest:
            sizes = range(min(len(rest), self._longest), 0, -1)
            piece = next((rest[:size] for size in sizes if rest[:size] in self._pieces), None)
            if piece is None or (found and not piece.startswith(INSIDE)):
                return [word]
            found.append(piece)
            rest = rest[len(piece) :]
            rest = rest and INSIDE + rest
        return found


def wordpiece(
    vocab_size: int = 1000, min_freq: int = 1, reserved: Sequence[str] = (), lower: bool = True
) -> WordPieceTokenizer:
    """WordPiece, to be trained or loaded.

    Args:
        vocab_size: tokens at the most, with the special tokens.
        min_freq: a character or a pair of pieces that occurs less often in the training text is left out.
        reserved: special tokens beside <unk>, in the order of their ids from 1 on.
        lower: drop capitals and accents, as BERT's uncased models do.

    Raises:
        ValueError: a value out of range.
    """
    return WordPieceTokenizer(vocab_size, min_freq, reserved, lower)


def words_of(chunk: str, lower: bool) -> list[str]:
    """The words of what stands between white space, cleaned."""
    if lower:
        chunk = "".join(c for c in unicodedata.normalize("NFD", chunk) if unicodedata.category(c) != "Mn").lower()
    kept = (character for character in chunk if unicodedata.category(character)[0] != "C")
    return "".join(f" {c} " if _stands_alone(c) else c for c in kept).split()


def characters(word: str) -> list[str]:
    """A word's first pieces."""
    return [*word[:1], *(INSIDE + character for character in word[1:])]


def _stands_alone(character: str) -> bool:
    """Whether BERT takes it as a word: what is no letter, digit or space in ASCII, punctuation, Chinese characters."""
    code = ord(character)
    if code < 128:
        return not character.isalnum()
    return unicodedata.category(character)[0] == "P" or any(least <= code <= most for least, most in IDEOGRAPHS)

"""Byte-pair encoding over bytes (Sennrich et al., 2016; the bytes as in GPT-2, Radford et al., 2019)."""

import codecs
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from d2lcli.data.tokenizers.base import Tokenizer, is_count
from d2lcli.data.tokenizers.merging import Pair, Words, apply_merges, commonest_merges
from d2lcli.data.tokenizers.vocabulary import Vocabulary
from d2lcli.errors import clean

# Every character is in one of these pieces, and merges stay within a piece.  A space goes with the word after it.
# What runs on for more than 64 characters is cut, so that a text without spaces does not take forever.
PIECES = re.compile(r" ?\w{1,64}| ?[^\w\s]{1,64}|\s{1,64}(?!\S)|\s{1,64}")
MOST_REMEMBERED = 1 << 18  # pieces


def _byte_symbols() -> str:
    """A visible character for each byte: itself, or for the 68 without one in Latin-1 the next from code point 256."""
    visible = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = iter(range(0x100, 0x200))
    return "".join(chr(byte if byte in visible else next(others)) for byte in range(256))


SYMBOLS = _byte_symbols()
_BYTES = {symbol: byte for byte, symbol in enumerate(SYMBOLS)}


class BPETokenizer(Tokenizer):
    """The commonest pair of neighbours becomes a new token, again and again, beginning with the 256 bytes.

    Any text can be encoded, so that nothing is ever <unk>, and decoding gives it back exactly.  Among pairs of one
    count the one seen first is merged: in the commonest word, among words of one count in the order of code points, and
    then from left to right.  In a token each byte is shown as one character, the space as U+0120.

    Args:
        vocab_size: tokens at the most, with the special tokens and the 256 bytes.
        min_freq: a pair that occurs less often is not merged.
        reserved: see Tokenizer.

    Raises:
        ValueError: a value out of range.
    """

    name = "bpe"

    def __init__(self, vocab_size: int = 1000, min_freq: int = 1, reserved: Sequence[str] = ()) -> None:
        super().__init__(min_freq, reserved)
        self.vocab_size = vocab_size
        self._ranks: dict[Pair, int] = {}
        self._remembered: dict[str, tuple[str, ...]] = {}
        self._room()

    def _room(self) -> int:
        room = self.vocab_size - len(SYMBOLS) - len(self.special)
        if room < 0:
            least = self.vocab_size - room
            raise ValueError(f"vocab_size={self.vocab_size} must be at least {least}: bytes and special tokens")
        return room

    def split(self, text: str) -> list[str]:
        return [token for piece in PIECES.findall(text) for token in self._tokens_of(piece)]

    def join(self, tokens: Sequence[str]) -> str:
        """The text of tokens; bytes that are no text become U+FFFD, and a character not finished yet is left out."""
        special = set(self.special)
        spelt = {
            token: token.encode() if token in special else bytes(_BYTES[symbol] for symbol in token)
            for token in set(tokens)
        }
        content = b"".join([spelt[token] for token in tokens])
        try:
            return content.decode("utf-8", "surrogatepass")
        except UnicodeDecodeError:
            return codecs.utf_8_decode(content, "replace", False)[0]

    def byte_sizes(self) -> list[int]:
        """See Tokenizer; a token has one symbol for each byte, and may end in the middle of a character."""
        first = len(self.special)
        return [0] * first + [len(token) for token in self.tokens[first:]]

    def _tokens_of(self, piece: str) -> tuple[str, ...]:
        found = self._remembered.get(piece)
        if found is None:
            if len(self._remembered) >= MOST_REMEMBERED:
                self._remembered.clear()
            found = self._remembered[piece] = tuple(apply_merges(_symbols_of(piece), self._ranks))
        return found

    def _pieces(self, text: str) -> list[str]:
        return PIECES.findall(text)

    def _learn(self, counts: Counter[str]) -> Vocabulary:
        found = commonest_merges(Words(counts, _symbols_of), self._room(), self.min_freq, self.special)
        self._set_merges(found)
        totals: Counter[str] = Counter()
        for piece, count in counts.items():
            for token in self._tokens_of(piece):
                totals[token] += count
        tokens = _all_tokens(self.special, found)
        return Vocabulary(self.special, tokens, tuple(totals[token] for token in tokens))

    def _set_merges(self, merges: Sequence[Pair]) -> None:
        self._ranks, self._remembered = {pair: rank for rank, pair in enumerate(merges)}, {}

    def _more_state(self) -> dict[str, Any]:
        return {"vocab_size": self.vocab_size, "merges": [list(pair) for pair in self._ranks]}

    def _take_more(self, state: Mapping[str, Any]) -> None:
        if not is_count(state["vocab_size"], len(self.tokens)):
            raise ValueError(f"vocab_size must be an integer of at least {len(self.tokens)}, the number of tokens")
        if not isinstance(state["merges"], list):
            raise ValueError("merges must be a list of pairs of tokens")
        known, found = {*SYMBOLS}, []
        for pair in state["merges"]:
            if not isinstance(pair, list) or len(pair) != 2 or not all(isinstance(part, str) for part in pair):
                raise ValueError("merges must be a list of pairs of tokens")
            if not known.issuperset(pair):
                raise ValueError(f"the merge '{clean(' '.join(pair), 80)}' is of what is no token before it")
            found.append((pair[0], pair[1]))
            known.add("".join(pair))
        if len(set(found)) < len(found) or self.tokens != _all_tokens(self.special, found):
            raise ValueError(
                "tokens must be the special tokens, the bytes, and then what the merges make, in this order"
            )
        self.vocab_size = state["vocab_size"]
        self._set_merges(found)


def bpe(vocab_size: int = 1000, min_freq: int = 1, reserved: Sequence[str] = ()) -> BPETokenizer:
    """Byte-pair encoding over bytes, to be trained or loaded.

    Args:
        vocab_size: tokens at the most, with the special tokens and the 256 bytes.
        min_freq: a pair of tokens that occurs less often in the training text is not merged.
        reserved: special tokens beside <unk>, in the order of their ids from 1 on.

    Raises:
        ValueError: a value out of range.
    """
    return BPETokenizer(vocab_size, min_freq, reserved)


def _symbols_of(piece: str) -> str:
    return "".join([SYMBOLS[byte] for byte in piece.encode("utf-8", "surrogatepass")])


def _all_tokens(special: tuple[str, ...], merges: Sequence[Pair]) -> tuple[str, ...]:
    return (*special, *dict.fromkeys([*SYMBOLS, *("".join(pair) for pair in merges)]))

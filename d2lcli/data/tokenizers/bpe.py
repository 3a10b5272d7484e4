"""Byte-pair encoding over bytes (Sennrich et al., 2016; the bytes as in GPT-2, Radford et al., 2019)."""

import codecs
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from d2lcli.data.tokenizers.base import LEARNT, OURS, is_count
from d2lcli.data.tokenizers.fast import in_step, library, merge_words
from d2lcli.data.tokenizers.merging import Pair, Words, apply_merges, commonest_merges
from d2lcli.data.tokenizers.parting import PIECES, gpt2_pieces
from d2lcli.data.tokenizers.subwords import SubwordTokenizer
from d2lcli.data.tokenizers.vocabulary import Vocabulary
from d2lcli.errors import clean

MANY = 5_000  # pieces from which on the library is worth its start
Rule = Literal["d2l", "gpt2"]


def _byte_symbols() -> str:
    """A visible character for each byte: itself, or for the 68 without one in Latin-1 the next from code point 256."""
    visible = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = iter(range(0x100, 0x200))
    return "".join(chr(byte if byte in visible else next(others)) for byte in range(256))


SYMBOLS = _byte_symbols()
_BYTES = {symbol: byte for byte, symbol in enumerate(SYMBOLS)}


class BPETokenizer(SubwordTokenizer):
    """The commonest pair of neighbours becomes a new token, again and again, beginning with the 256 bytes.

    Any text can be encoded, so that nothing is ever <unk>, and decoding gives it back exactly.  Among pairs of one
    count the one seen first is merged: in the commonest word, among words of one count in the order of code points, and
    then from left to right.  In a token each byte is shown as one character, the space as U+0120.

    Args:
        vocab_size: tokens at the most, with the special tokens and the 256 bytes.
        min_freq: a pair that occurs less often is not merged.
        reserved: see Tokenizer.
        rule: how a text is parted before pairs are merged, see `bpe`.

    Raises:
        ValueError: a value out of range.
    """

    name = "bpe"
    rules = (OURS, "gpt2")
    complete = True

    def __init__(
        self, vocab_size: int = 1000, min_freq: int = 1, reserved: Sequence[str] = (), rule: Rule = "d2l"
    ) -> None:
        super().__init__(min_freq, reserved)
        self.vocab_size, self.rule = vocab_size, rule
        self._ranks: dict[Pair, int] = {}
        self._room()

    def _room(self) -> int:
        room = self.vocab_size - len(SYMBOLS) - len(self.special)
        if room < 0:
            least = self.vocab_size - room
            raise ValueError(f"vocab_size={self.vocab_size} must be at least {least}: bytes and special tokens")
        return room

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
        plain = self.vocabulary.plain
        return [len(token) if token in plain else 0 for token in self.tokens]

    def _pieces(self, text: str) -> list[str]:
        return (PIECES if self.rule == OURS else gpt2_pieces()).findall(text)

    def _cut(self, piece: str) -> Sequence[str]:
        return apply_merges(_symbols_of(piece), self._ranks)

    def _numbers_of(self, pieces: Sequence[str]) -> Sequence[Sequence[int]]:
        """See SubwordTokenizer; of many pieces by the library `tokenizers` where it can be used."""
        if len(pieces) >= MANY and (tokenizers := library()) is not None and in_step(self._ranks):
            return merge_words(tokenizers, self.vocabulary.ids, self._ranks, [_symbols_of(piece) for piece in pieces])
        return super()._numbers_of(pieces)

    def _learn(self, counts: Counter[str]) -> Vocabulary:
        found = commonest_merges(Words(counts, _symbols_of), self._room(), self.min_freq, self.special)
        self._ranks = _ranked(found)
        totals: Counter[str] = Counter()
        for piece, count in counts.items():
            for token in self._cut(piece):
                totals[token] += count
        tokens = _all_tokens(self.special, found)
        return Vocabulary(self.special, tokens, tuple(totals[token] for token in tokens))

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
        if len(set(found)) < len(found):
            raise ValueError("a merge is given twice")
        if state["format"] == LEARNT and self.tokens != _all_tokens(self.special, found):
            raise ValueError(
                "tokens must be the special tokens, the bytes, and then what the merges make, in this order"
            )
        if absent := known - self.vocabulary.plain.keys():
            raise ValueError(f"'{clean(min(absent), 80)}' of the bytes and merges is no token")
        if strange := self.vocabulary.plain.keys() - known:
            raise ValueError(f"the token '{clean(min(strange), 80)}' is neither a byte nor made by a merge")
        self.vocab_size, self._ranks = state["vocab_size"], _ranked(found)


def bpe(vocab_size: int = 1000, min_freq: int = 1, reserved: Sequence[str] = (), rule: Rule = "d2l") -> BPETokenizer:
    """Byte-pair encoding over bytes, to be trained or loaded.

    Args:
        vocab_size: tokens at the most, with the special tokens and the 256 bytes.
        min_freq: a pair of tokens that occurs less often in the training text is not merged.
        reserved: special tokens beside <unk>, in the order of their ids from 1 on.
        rule: no token goes over the edge of a piece.  d2l: a piece is of letters, digits and _, or of other characters,
            64 at the most, with the space before them.  gpt2: of letters, or of digits, or of others, of any length;
            endings such as 's and 'll are pieces, too.

    Raises:
        ValueError: a value out of range.
    """
    return BPETokenizer(vocab_size, min_freq, reserved, rule)


def _symbols_of(piece: str) -> str:
    return piece.encode("utf-8", "surrogatepass").decode("latin-1").translate(SYMBOLS)


def _ranked(merges: Sequence[Pair]) -> dict[Pair, int]:
    return {pair: rank for rank, pair in enumerate(merges)}


def _all_tokens(special: tuple[str, ...], merges: Sequence[Pair]) -> tuple[str, ...]:
    return (*special, *dict.fromkeys([*SYMBOLS, *("".join(pair) for pair in merges)]))

"""WordPiece, the tokens of BERT (Schuster and Nakajima, 2012; Devlin et al., 2019)."""

import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Literal

from d2lcli.data.tokenizers.base import OURS, is_count
from d2lcli.data.tokenizers.likelihood import INSIDE, commonest_pieces, likeliest_pieces
from d2lcli.data.tokenizers.merging import Words
from d2lcli.data.tokenizers.parting import CHUNKS, words_of
from d2lcli.data.tokenizers.subwords import SubwordTokenizer
from d2lcli.data.tokenizers.vocabulary import UNKNOWN, Vocabulary
from d2lcli.errors import DataError, clean

LONGEST_LEARNT = 100  # characters of a word; BERT knows no longer ones
CLOSE = ".?!,"  # what BERT's tokenizer puts no space before, when it decodes
Rule = Literal["d2l", "bert"]
Score = Literal["likelihood", "frequency"]


class WordPieceTokenizer(SubwordTokenizer):
    """Words cut into the longest pieces known, from left to right; `##` marks pieces that do not begin a word.

    A word is what stands between white space; every punctuation mark and every Chinese character is a word by itself,
    and control characters are dropped.  A word that cannot be cut into known pieces is <unk> as a whole.  Decoding puts
    one space between words, so that "it's" comes back as "it ' s": which space there was, the tokens do not tell.

    Args:
        vocab_size: tokens at the most, with the special tokens; the commonest characters come first.
        min_freq: a character or a pair that occurs less often is left out.
        reserved: see Tokenizer.
        lower: drop capitals and accents.
        rule, score: see `wordpiece`.

    Raises:
        ValueError: a value out of range.
    """

    name = "wordpiece"
    rules = (OURS, "bert")

    def __init__(
        self,
        vocab_size: int = 1000,
        min_freq: int = 1,
        reserved: Sequence[str] = (),
        lower: bool = True,
        rule: Rule = "d2l",
        score: Score = "likelihood",
    ) -> None:
        super().__init__(min_freq, reserved)
        self.vocab_size, self.lower, self.rule, self.score = vocab_size, lower, rule, score
        self._known: tuple[Vocabulary, _Known] | None = None
        self._room()

    def _room(self) -> int:
        room = self.vocab_size - len(self.special)
        if room < 1:
            raise ValueError(f"vocab_size={self.vocab_size} must be at least {len(self.special) + 1}")
        return room

    def join(self, tokens: Sequence[str]) -> str:
        text = " ".join(tokens).replace(f" {INSIDE}", "").removeprefix(INSIDE)
        return text if self.rule == OURS else re.sub(f" (?=[{CLOSE}])", "", text)

    def gap(self, tokens: Sequence[str]) -> str:
        close = (INSIDE,) if self.rule == OURS else (INSIDE, *CLOSE)
        return "" if not tokens or tokens[0].startswith(close) else " "

    def _pieces(self, text: str) -> list[str]:
        """What stands between white space."""
        return text.split() if self.rule == OURS else CHUNKS.findall(text)

    def _words(self, chunk: str) -> list[str]:
        return words_of(chunk, self.lower, self.rule == "bert")

    def _cut(self, piece: str) -> list[str]:
        """The pieces of what stands between white space; a word that cannot be cut stands there whole."""
        if self._known is None or self._known[0] is not self.vocabulary:
            self._known = self.vocabulary, self._known_of(self.vocabulary.plain)
        cut = self._known[1].cut
        return [token for word in self._words(piece) for token in cut(word)]

    def _known_of(self, pieces: Collection[str]) -> "_Known":
        return _Known(pieces, None if self.rule == OURS else LONGEST_LEARNT)

    def _learn(self, counts: Counter[str]) -> Vocabulary:
        words: Counter[str] = Counter()
        for chunk, count in counts.items():
            for word in self._words(chunk):
                words[word] += count
        alphabet = self._alphabet(words)
        known = {
            word: count for word, count in words.items()
            if len(word) <= LONGEST_LEARNT and alphabet.issuperset(characters(word))
        }  # fmt: skip
        room = self._room() - len(alphabet)
        learn = likeliest_pieces if self.score == "likelihood" else commonest_pieces
        found = learn(Words(known, characters), room, self.min_freq, self.special)
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
        known = self._known_of(pieces)
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
        self.vocab_size, self.lower = state["vocab_size"], state["lower"]
        for token in self.vocabulary.plain:
            body = token.removeprefix(INSIDE)
            # Published vocabularies hold pieces that no text has, such as [unused0].
            single = (
                words_of(body, self.lower) == [body] if self.rule == OURS else token and len(body) <= LONGEST_LEARNT
            )
            if not single:
                raise ValueError(f"'{clean(token, 80)}' is not a single token")


class _Known:
    """The pieces of a vocabulary.

    Args:
        pieces: that are not special.
        most: characters of a word, of which longer ones are unknown; None for any number.
    """

    def __init__(self, pieces: Collection[str], most: int | None) -> None:
        self._pieces, self._most = frozenset(pieces), most
        self._longest = max(map(len, self._pieces), default=0)

    def cut(self, word: str) -> list[str]:
        """The longest piece that begins the word, then the longest of the rest; the word itself if there is none."""
        if self._most is not None and len(word) > self._most:
            return [word]
        found: list[str] = []
        place, mark = 0, ""
        while place < len(word):
            rest = mark + word[place : place + self._longest]
            for size in range(min(len(rest), self._longest), len(mark), -1):
                if rest[:size] in self._pieces:
                    break
            else:
                return [word]
            found.append(rest[:size])
            place += size - len(mark)
            mark = INSIDE
        return found


def wordpiece(
    vocab_size: int = 1000,
    min_freq: int = 1,
    reserved: Sequence[str] = (),
    lower: bool = True,
    rule: Rule = "d2l",
    score: Score = "likelihood",
) -> WordPieceTokenizer:
    """WordPiece, to be trained or loaded.

    Args:
        vocab_size: tokens at the most, with the special tokens.
        min_freq: a character or a pair of pieces that occurs less often in the training text is left out.
        reserved: special tokens beside <unk>, in the order of their ids from 1 on.
        lower: drop capitals and accents, as BERT's uncased models do.
        rule: bert: as BERT's published tokenizers in what differs from ours: control characters part no words, words of
            more than 100 characters are unknown, and no space stands before . ? ! and , in what is decoded.
        score: which pair is merged next.  likelihood: the one with the greatest c(ab) / (c(a) c(b)), as in the paper,
            which spends pieces on rare neighbours and leaves common words in parts; frequency: the commonest, as the
            library `tokenizers` does.

    Raises:
        ValueError: a value out of range.
    """
    return WordPieceTokenizer(vocab_size, min_freq, reserved, lower, rule, score)


def characters(word: str) -> list[str]:
    """A word's first pieces."""
    return [*word[:1], *(INSIDE + character for character in word[1:])]

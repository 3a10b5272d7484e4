"""What all tokenizers share: training a vocabulary, ids to text and back, and their JSON file."""

import copy
import json
import os
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from d2lcli.data.tokenizers.files import read_content, read_object
from d2lcli.data.tokenizers.vocabulary import UNKNOWN, Vocabulary, can_be_special, most_frequent, special_tokens
from d2lcli.errors import DataError, clean

LEARNT, PUBLISHED = 1, 2  # formats: special tokens first and our own rule; special tokens anywhere and a rule by name
OURS = "d2l"
_KEYS = {"format", "name", "min_freq", "tokens", "counts"}
_KEYS_OF = {LEARNT: {"reserved"}, PUBLISHED: {"special", "rule"}}


class Tokenizer(ABC):
    """Cuts text into tokens and numbers them.

    A subclass says how to cut and how to put together again.  Text is not cleaned or lowered here: that belongs to the
    data set it comes from.

    Args:
        min_freq: a token that occurs less often in the training text is left out and becomes <unk>.
        reserved: special tokens beside <unk>, such as <pad>, <bos> and <eos>; they follow it in this order.

    Raises:
        ValueError: min_freq is below 1, or a reserved token is no special token.
    """

    name: ClassVar[str]
    rules: ClassVar[tuple[str, ...]] = (OURS,)  # how text is parted before it is cut: ours, or that of published ones
    complete: ClassVar[bool] = False  # whether any text can be spelt, so that <unk> may be absent
    rule: str = OURS

    def __init__(self, min_freq: int = 1, reserved: Sequence[str] = ()) -> None:
        if min_freq < 1:
            raise ValueError(f"min_freq={min_freq!r} must be at least 1")
        self.min_freq = min_freq
        self.special = special_tokens(reserved)
        self._vocabulary: Vocabulary | None = None

    def renewed(self, reserved: Sequence[str]) -> "Tokenizer":
        """An untrained tokenizer with the same options but these reserved tokens."""
        other = copy.deepcopy(self)
        other.special, other._vocabulary = special_tokens(reserved), None
        return other

    @abstractmethod
    def split(self, text: str) -> list[str]:
        """The tokens of a text, whether they are known or not."""

    @abstractmethod
    def join(self, tokens: Sequence[str]) -> str:
        """The text of tokens."""

    def gap(self, tokens: Sequence[str]) -> str:
        """What stands between a text and the tokens that continue it: nothing, or the space that `join` would put."""
        return ""

    def byte_sizes(self) -> list[int]:
        """For each id the bytes of UTF-8 that its token adds to a text, the gap before it included; 0 if special.

        Raises:
            ValueError: the tokenizer has not been trained.
        """
        sizes = [0] * len(self)
        for token, number in self.vocabulary.plain.items():
            sizes[number] = len((self.gap([token]) + self.join([token])).encode("utf-8", "surrogatepass"))
        return sizes

    @property
    def trained(self) -> bool:
        """Whether it has a vocabulary."""
        return self._vocabulary is not None

    @property
    def vocabulary(self) -> Vocabulary:
        """The tokens and their counts.

        Raises:
            ValueError: the tokenizer has not been trained.
        """
        if self._vocabulary is None:
            raise ValueError(f"the tokenizer '{self.name}' has no vocabulary yet; train it or load its file first")
        return self._vocabulary

    @property
    def tokens(self) -> tuple[str, ...]:
        """All tokens; the one at place i has id i."""
        return self.vocabulary.tokens

    def __len__(self) -> int:
        return len(self.vocabulary)

    def id_of(self, token: str) -> int:
        """The id of a token, special ones included.

        Raises:
            ValueError: there is no such token.
        """
        if token not in self.vocabulary.ids:
            raise ValueError(f"the vocabulary has no token '{clean(token, 80)}'")
        return self.vocabulary.ids[token]

    def train(self, texts: Iterable[str]) -> None:
        """Take the vocabulary from texts, in place of any earlier one.

        Raises:
            DataError: there is no token in the texts, or none that occurs min_freq times.
            ValueError: one text is given instead of several.
        """
        if isinstance(texts, str):
            raise ValueError("train takes a list of texts, not one text")
        counts: Counter[str] = Counter()
        for text in texts:
            counts.update(self._pieces(text))
        if not counts:
            raise DataError("the training text holds no tokens", "give a text file that is not empty")
        self._vocabulary = self._learn(counts)

    def _pieces(self, text: str) -> list[str]:
        """What training counts."""
        return self.split(text)

    def _learn(self, counts: Counter[str]) -> Vocabulary:
        """The vocabulary of pieces that occur so often."""
        vocabulary = most_frequent(counts, self.min_freq, self.special)
        if len(vocabulary) == len(self.special):
            most = max(counts.values())
            raise DataError(f"no token of the training text occurs min_freq={self.min_freq} times; the most is {most}")
        return vocabulary

    def encode(self, text: str) -> list[int]:
        """The ids of a text; that of <unk> for a token not in the vocabulary.  It never yields another special token.

        Raises:
            ValueError: the tokenizer has not been trained.
        """
        plain, unknown = self.vocabulary.plain, self.vocabulary.ids[UNKNOWN]
        return [plain.get(token, unknown) for token in self.split(text)]

    def decode(self, ids: Iterable[int], skip_special: bool = False) -> str:
        """The text of ids.

        Args:
            ids: numbers from 0 to len(self) - 1.
            skip_special: leave out the special tokens, <unk> too.

        Raises:
            ValueError: an id is outside the vocabulary, or the tokenizer has not been trained.
        """
        tokens, left_out = self.tokens, set(self.special) if skip_special else ()
        kept = []
        for number in ids:
            if not 0 <= number < len(tokens):
                raise ValueError(f"id {number} is outside the vocabulary of {len(tokens)} tokens")
            if tokens[number] not in left_out:
                kept.append(tokens[number])
        return self.join(kept)

    # The file

    def state(self) -> dict[str, Any]:
        """Everything as plain JSON values."""
        vocabulary = self.vocabulary
        state = {
            "name": self.name, "min_freq": self.min_freq, "tokens": list(vocabulary.tokens),
            "counts": list(vocabulary.counts), **self._more_state(),
        }  # fmt: skip
        if vocabulary.leading and self.rule == OURS:
            return {"format": LEARNT, "reserved": list(self.special[1:]), **state}
        return {"format": PUBLISHED, "special": list(self.special), "rule": self.rule, **state}

    def load_state(self, state: Any) -> None:
        """Become the tokenizer that `state` describes; nothing is changed if it is refused.

        Raises:
            DataError: the state is not one that this tokenizer writes; the message says why.
        """
        other = copy.copy(self)
        try:
            other._take(state)
        except ValueError as error:
            raise DataError(f"this is no file of the tokenizer '{self.name}': {error}") from None
        vars(self).update(vars(other))

    def _take(self, state: Any) -> None:
        number = state.get("format") if isinstance(state, dict) else LEARNT
        if not is_count(number, LEARNT) or number not in _KEYS_OF:
            raise ValueError(f"format {clean(number, 20)} is neither {LEARNT} nor {PUBLISHED}")
        keys = _KEYS | _KEYS_OF[number] | self._more_state().keys()
        if not isinstance(state, dict) or set(state) != keys:
            raise ValueError(f"it must be one object with the keys {', '.join(sorted(keys))}")
        if state["name"] != self.name:
            raise ValueError(f"it was written by '{clean(state['name'], 80)}'")
        if not is_count(state["min_freq"], 1):
            raise ValueError("min_freq must be an integer of at least 1")
        for key in ("reserved" if number == LEARNT else "special", "tokens"):
            if not isinstance(state[key], list) or not all(isinstance(token, str) for token in state[key]):
                raise ValueError(f"{key} must be a list of texts")
        if not isinstance(state["counts"], list) or not all(is_count(count, 0) for count in state["counts"]):
            raise ValueError("counts must be a list of integers of at least 0")
        self.min_freq, self.rule = state["min_freq"], state.get("rule", OURS)
        if self.rule not in self.rules:
            raise ValueError(f"rule '{clean(self.rule, 40)}' is none of {', '.join(self.rules)}")
        if number == LEARNT:
            self.special = special_tokens(state["reserved"])
        else:
            self.special = tuple(state["special"])
            if not all(map(can_be_special, self.special)):
                raise ValueError("a special token must have at least two characters and no white space")
        self._vocabulary = Vocabulary(self.special, tuple(state["tokens"]), tuple(state["counts"]))
        if number == LEARNT and not self._vocabulary.leading:
            raise ValueError(f"a vocabulary must begin with {UNKNOWN} and the reserved tokens")
        if self._vocabulary.unknown is None and not self.complete:
            raise ValueError(f"there is no {UNKNOWN} among the special tokens")
        self._take_more(state)

    def _more_state(self) -> dict[str, Any]:
        """What a subclass adds to the state: its further options, and what it learnt beside the tokens."""
        return {}

    def _take_more(self, state: Mapping[str, Any]) -> None:
        """Take the rest from a state, whose common part has been taken; ValueError if something does not fit."""
        for token in self.vocabulary.plain:
            if self.split(token) != [token]:
                raise ValueError(f"'{clean(token, 80)}' is not a single token")

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the state as JSON; the file is whole or absent."""
        target = Path(path)
        beside = target.with_name(f"{target.name}.tmp-{os.getpid()}")
        try:
            beside.write_text(json.dumps(self.state(), sort_keys=True) + "\n", encoding="ascii")
            os.replace(beside, target)
        finally:
            beside.unlink(missing_ok=True)

    def load(self, path: str | os.PathLike[str]) -> None:
        """Become the tokenizer of a file that `save` wrote.

        Raises:
            DataError: the file cannot be read, is not such a file, or is of another tokenizer.
        """
        self.load_state(read_state(path))


def fitted(tokenizer: Tokenizer, reserved: Sequence[str], texts: Iterable[str]) -> Tokenizer:
    """A tokenizer with these special tokens: itself if it has been trained, else one like it, trained on the texts.

    Raises:
        DataError: it has been trained, and without one of these special tokens.
    """
    if not tokenizer.trained:
        tokenizer = tokenizer.renewed(reserved) if reserved else tokenizer
        tokenizer.train(texts)
    elif missing := [token for token in reserved if token not in tokenizer.special]:
        raise DataError(
            f"the tokenizer '{tokenizer.name}' has no token {', '.join(missing[:4])}, which this use of it needs",
            "train another one: data.tokenizer=NAME",
        )
    return tokenizer


def read_state(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The state in a tokenizer's file; its `name` says which tokenizer can load it.

    Raises:
        DataError: the file cannot be read, or is not a JSON object with a name.
    """
    file = Path(path)
    state = read_object(read_content(file), file)
    if not isinstance(state.get("name"), str):
        raise DataError(f"tokenizer file {clean(file)} does not hold a tokenizer")
    return state


def is_count(value: Any, least: int) -> bool:
    """Whether a value of a file is an integer of at least `least`."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= least

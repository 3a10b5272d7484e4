"""Tokens in a fixed order: a token's place is its id (d2l 9.2)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

UNKNOWN = "<unk>"


@dataclass(frozen=True)
class Vocabulary:
    """Special tokens, and those that texts are made of.

    One that was learnt here begins with the special tokens, <unk> first; a published one has them at any place, and no
    <unk> if nothing can be unknown.

    Args:
        special: the special tokens in the order of their ids.  No text is ever encoded to one, but what is not known
            becomes <unk>.
        tokens: all tokens; the one at place i has id i.
        counts: how often each token occurs in the corpus; that of <unk> counts whatever was left out.

    Attributes:
        ids: of all tokens.
        plain: those of the tokens that are not special, in order.
        unknown: that of <unk>, or None.

    Raises:
        ValueError: the three do not fit together, or a token occurs twice.
    """

    special: tuple[str, ...]
    tokens: tuple[str, ...]
    counts: tuple[int, ...]
    ids: Mapping[str, int] = field(init=False, repr=False, compare=False)
    plain: Mapping[str, int] = field(init=False, repr=False, compare=False)
    unknown: int | None = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if len(self.counts) != len(self.tokens):
            raise ValueError(f"a vocabulary of {len(self.tokens)} tokens must not have {len(self.counts)} counts")
        object.__setattr__(self, "ids", {token: i for i, token in enumerate(self.tokens)})
        if len(self.ids) != len(self.tokens):
            raise ValueError("a token must not occur twice in a vocabulary")
        special = set(self.special)
        if tuple(token for token in self.tokens if token in special) != self.special:
            raise ValueError("a vocabulary must hold each special token once, in their order")
        object.__setattr__(self, "plain", {token: i for token, i in self.ids.items() if token not in special})
        object.__setattr__(self, "unknown", self.ids[UNKNOWN] if UNKNOWN in special else None)

    def __len__(self) -> int:
        return len(self.tokens)

    @property
    def leading(self) -> bool:
        """Whether the special tokens are the first, and <unk> the first of them."""
        return self.special[:1] == (UNKNOWN,) and self.tokens[: len(self.special)] == self.special


def can_be_special(token: str) -> bool:
    """Whether a token has at least two characters, none of them white space."""
    return len(token) >= 2 and token.split() == [token]


def special_tokens(reserved: Sequence[str]) -> tuple[str, ...]:
    """<unk>, then the reserved tokens.

    Raises:
        ValueError: a reserved token is shorter than two characters, holds white space, or is given twice.
    """
    for token in reserved:
        if not can_be_special(token):
            raise ValueError(f"reserved: {token!r} must have at least two characters and no white space")
    special = (UNKNOWN, *reserved)
    if len(set(special)) < len(special):
        raise ValueError(f"reserved={list(reserved)} must not name a token twice, nor {UNKNOWN}, which is always there")
    return special


def most_frequent(counts: Mapping[str, int], min_freq: int, special: Sequence[str]) -> Vocabulary:
    """The tokens that occur at least `min_freq` times, by falling count; equal counts in the order of code points.

    Args:
        counts: occurrences of each token.  One spelled like a special token counts as unknown.
        min_freq: at least 1.
        special: <unk> and the reserved tokens.
    """
    reached = {token: count for token, count in counts.items() if count >= min_freq and token not in special}
    ordered = sorted(reached, key=lambda token: (-reached[token], token))
    unknown = sum(counts.values()) - sum(reached.values())
    numbers = [unknown, *(0 for _ in special[1:]), *(reached[token] for token in ordered)]
    return Vocabulary(tuple(special), (*special, *ordered), tuple(numbers))

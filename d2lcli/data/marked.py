"""What BERT reads: one text or two between special tokens, and which of the two each token belongs to (d2l 15.8)."""

from collections.abc import Sequence
from dataclasses import dataclass

from d2lcli.data.tokenizers.base import Tokenizer
from d2lcli.errors import DataError

RESERVED = ("<pad>", "<cls>", "<sep>", "<mask>")  # after <unk>


@dataclass(frozen=True)
class Marks:
    """The ids of the special tokens."""

    pad: int
    cls: int
    sep: int
    mask: int

    @classmethod
    def of(cls, tokenizer: Tokenizer) -> "Marks":
        """Those of a tokenizer.

        Raises:
            DataError: it lacks one of them.
        """
        missing = [token for token in RESERVED if token not in tokenizer.special]
        if missing:
            raise DataError(f"the tokenizer '{tokenizer.name}' has no token {', '.join(missing)}")
        return cls(*(tokenizer.id_of(token) for token in RESERVED))


def mark(
    marks: Marks, first: Sequence[int], second: Sequence[int] | None = None, most: int | None = None
) -> tuple[list[int], list[int]]:
    """<cls> A <sep>, or <cls> A <sep> B <sep>; and the segments, 0 up to the first <sep> and 1 after it.

    Args:
        marks: the special tokens.
        first: A.
        second: B.
        most: tokens at the most, the special ones included: they are taken from the end of the longer text.
    """
    a, b = list(first), list(second or ())
    room = None if most is None else most - (2 if second is None else 3)
    while room is not None and len(a) + len(b) > max(room, 0):
        (a if len(a) >= len(b) else b).pop()
    left = [marks.cls, *a, marks.sep]
    if second is None:
        return left, [0] * len(left)
    return [*left, *b, marks.sep], [0] * len(left) + [1] * (len(b) + 1)

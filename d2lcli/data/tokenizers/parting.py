"""How texts are parted before they are cut: into pieces of bytes as here or in GPT-2, into words as here or in BERT."""

import re
import unicodedata
from functools import cache
from itertools import groupby
from sys import maxunicode

# Every character is in one of these pieces, and merges stay within a piece.  A space goes with the word after it.
# What runs on for more than 64 characters is cut, so that a text without spaces does not take forever.
PIECES = re.compile(r" ?\w{1,64}| ?[^\w\s]{1,64}|\s{1,64}(?!\S)|\s{1,64}")
# White space as Unicode has it; Python's \s has the separators U+001C to U+001F, too.
SPACE = r"\t-\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
# BERT drops control characters before it looks for white space.
CHUNKS = re.compile(r"[^\t\n\r \xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]+")
DROPPED = "\ufffd"  # by BERT, beside control characters
_ASCII_WORDS = re.compile(r"[0-9A-Za-z]+|[!-/:-@\[-`{-~]")
_ASCII_CONTROL = re.compile(r"[\0-\x1f\x7f]+")
# Chinese characters, each of them a word.
IDEOGRAPHS = (
    (0x4E00, 0x9FFF), (0x3400, 0x4DBF), (0x20000, 0x2A6DF), (0x2A700, 0x2B73F), (0x2B740, 0x2B81F), (0x2B820, 0x2CEAF),
    (0xF900, 0xFAFF), (0x2F800, 0x2FA1F),
)  # fmt: skip


@cache
def gpt2_pieces() -> re.Pattern[str]:
    r"""GPT-2's pieces (Radford et al., 2019), with \p{L}, \p{N} and its \s written out, for the Unicode of this Python:

    's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+

    Characters beyond U+FFFF are looked for apart: Python has a table for sets of the others, but goes through the
    ranges of these one by one.
    """
    letters, numbers = _category("L", range(0x10000)), _category("N", range(0x10000))
    far_letters, far_numbers = (_category(kind, range(0x10000, maxunicode + 1)) for kind in "LN")
    near, far = r"\0-\uffff", r"\U00010000-\U0010ffff"
    return re.compile(
        "'s|'t|'re|'ve|'m|'ll|'d"
        f"| ?(?:[{letters}]+|(?=[{far}])[{far_letters}]+)+"
        f"| ?(?:[{numbers}]+|(?=[{far}])[{far_numbers}]+)+"
        f"| ?(?:[^{SPACE}{letters}{numbers}{far}]+|[^{near}{far_letters}{far_numbers}]+)+"
        f"|[{SPACE}]+(?![^{SPACE}])|[{SPACE}]+"
    )


def _category(kind: str, codes: range) -> str:
    """The characters of a general category, as ranges of a set in a regular expression."""
    ranges = []
    for belongs, group in groupby(codes, lambda code: unicodedata.category(chr(code))[0] == kind):
        if belongs:
            found = list(group)
            ranges.append(f"\\U{found[0]:08x}-\\U{found[-1]:08x}")
    return "".join(ranges)


def words_of(chunk: str, lower: bool, bert: bool = False) -> list[str]:
    """The words of what stands between white space, cleaned.

    Args:
        chunk: has no white space in it.
        lower: drop capitals and accents.
        bert: as the library of BERT's published tokenizers: U+FFFD is dropped, and a sigma at the end of a word is not
            another letter.
    """
    if chunk.isascii():
        return _ASCII_WORDS.findall(_ASCII_CONTROL.sub("", chunk.lower() if lower else chunk))
    if lower:
        plain = (c for c in unicodedata.normalize("NFD", chunk) if unicodedata.category(c) != "Mn")
        chunk = "".join(c.lower() for c in plain) if bert else "".join(plain).lower()
    kept = (c for c in chunk if unicodedata.category(c)[0] != "C" and not (bert and c == DROPPED))
    return "".join(f" {c} " if _stands_alone(c) else c for c in kept).split()


def _stands_alone(character: str) -> bool:
    """Whether BERT takes it as a word: what is no letter, digit or space in ASCII, punctuation, Chinese characters."""
    code = ord(character)
    if code < 128:
        return not character.isalnum()
    return unicodedata.category(character)[0] == "P" or any(least <= code <= most for least, most in IDEOGRAPHS)

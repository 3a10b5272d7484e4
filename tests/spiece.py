"""Files of SentencePiece, written by hand: the protocol buffers of a model, and the double array of its normaliser."""

import struct
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any

MARK = "\u2581"
SPECIAL = [("<pad>", 0.0, 3), ("</s>", 0.0, 3), ("<unk>", 0.0, 2)]  # as in T5, with their types


def varint(value: int) -> bytes:
    found = []
    while value > 127:
        found.append(value & 127 | 128)
        value >>= 7
    return bytes([*found, value])


def field(number: int, value: int | float | bytes) -> bytes:
    if isinstance(value, bytes):
        return varint(number << 3 | 2) + varint(len(value)) + value
    if isinstance(value, float):
        return varint(number << 3 | 5) + struct.pack("<f", value)
    return varint(number << 3) + varint(value)


def model_file(
    pieces: Iterable[tuple[str, float, int]],
    charsmap: bytes = b"",
    trainer: Sequence[tuple[int, int]] = ((3, 1),),
    normalizer: Sequence[tuple[int, int]] = (),
) -> bytes:
    """A spiece.model of pieces (text, score, type), with numbers for the fields of its two specifications."""
    parts = [field(1, field(1, text.encode()) + field(2, score) + field(3, type_)) for text, score, type_ in pieces]
    rules = b"".join(field(*pair) for pair in normalizer)
    return b"".join(
        [
            *parts,
            field(2, b"".join(field(*pair) for pair in trainer)),
            field(3, field(1, b"nmt_nfkc") + (field(2, charsmap) if charsmap else b"") + rules),
        ]
    )


def charsmap_of(table: dict[str, str]) -> bytes:
    """The table as a trie in a double array without shared branches, and its texts."""
    texts, starts = b"", {}
    for new in sorted(set(table.values())):
        starts[new] = len(texts)
        texts += new.encode() + b"\0"
    trie: dict[int, Any] = {}
    for text, new in table.items():
        node = trie
        for byte in text.encode():
            node = node.setdefault(byte, {})
        node[0] = starts[new]
    units: dict[int, int] = {}
    taken = {0}  # places; a base may be shared by no two nodes
    bases: set[int] = set()

    def place(node: dict[int, Any], at: int, label: int) -> None:
        base = 1
        while base in bases or any(base ^ byte in taken for byte in node):
            base += 1
        bases.add(base)
        taken.update(base ^ byte for byte in node)
        units[at] = (at ^ base) << 10 | (0 in node) << 8 | label
        for byte, below in node.items():
            if byte:
                place(below, base ^ byte, byte)
            else:
                units[base] = 1 << 31 | below

    place(trie, 0, 0)
    size = (max(units) | 0xFF) + 1
    # A unit that is not used must look like the child of none: labels of its own place's base 0 do.
    content = struct.pack(f"<{size}I", *(units.get(i, 1 << 31) for i in range(size)))
    return struct.pack("<I", len(content)) + content + texts


def small_table() -> dict[str, str]:
    """NFKC of the characters up to U+0180 and of full width, of letters with accents, and spaces as T5 has them."""
    table = {chr(code): " " for code in (9, 10, 13, 0x2028, 0x200B, ord(MARK))} | {"\x07": "", "\x7f": ""}
    for code in [*range(0xA0, 0x180), *range(0xFF01, 0xFF5F), 0x3000, 0xFB01, 0x2126]:
        new = unicodedata.normalize("NFKC", chr(code))
        table |= {chr(code): new} if new != chr(code) else {}
        parts = unicodedata.normalize("NFD", chr(code))
        table |= {parts: unicodedata.normalize("NFC", parts)} if len(parts) > 1 else {}
    return table

"""The table of a SentencePiece normaliser: which characters of a text become which others (Kudo and Richardson, 2018).

In a file it is a trie over the bytes of UTF-8, laid out as a double array (the library Darts-clone), and after it the
texts that its leaves point at.  Branches that end alike are one, so that a few thousand units stand for all Hangul.
"""

import re
import struct
from collections import defaultdict
from collections.abc import Iterable

MOST = 1 << 20  # steps in which the characters below a node must be found; a published table takes 10,000 in all
_FAR = r"\U00010000-\U0010ffff"
Branches = dict[str, tuple[int, str | None]]
"""By character: the node that it leads to, and what the text so far becomes, if the table has it."""


class Charsmap:
    """Replaces, from left to right, the longest text that the table has at each place; the rest stays.

    Args:
        content: four bytes with the size of the trie, the trie, and the texts, each with a zero byte at its end; or
            nothing, for a table that changes no text.

    Raises:
        ValueError: it is damaged.
    """

    def __init__(self, content: bytes = b"") -> None:
        size = int.from_bytes(content[:4], "little")
        if content and (size < 4 or size % 4 or 4 + size > len(content)):
            raise ValueError("the table of characters is cut off")
        self._units = struct.unpack_from(f"<{size // 4}I", content, 4) if content else (0,)
        self._texts = content[4 + size :]
        self._children: dict[int, list[int]] = defaultdict(list)  # places of units by the node above them
        for place, unit in enumerate(self._units):
            if unit & 0xFF and not unit >> 31:
                self._children[place ^ (unit & 0xFF)].append(place)
        self._known: dict[int, Branches] = {}
        self._root = _offset(self._units[0])
        first = self._below(self._root)
        self._single = str.maketrans({character: new for character, (_, new) in first.items() if new is not None})
        heads = {character for character, (node, _) in first.items() if self._below(node)}
        # Whatever the table has beside single characters lies within a match of this.
        tails = self._tails([first[character][0] for character in heads])
        self._runs = re.compile(f"({_any_of(heads)}{_any_of(tails)}+)") if heads else None
        self._ascii = any(map(str.isascii, tails))

    def __call__(self, text: str) -> str:
        """The text with all that the table has replaced."""
        if self._runs is None or (text.isascii() and not self._ascii):
            return text.translate(self._single)
        parts = self._runs.split(text)  # each second one is a run
        return "".join(
            self._replaced(part) if place % 2 else part.translate(self._single) for place, part in enumerate(parts)
        )

    def _replaced(self, run: str) -> str:
        found, place = [], 0
        while place < len(run):
            node, new, after = self._root, run[place], place + 1
            for end in range(place, len(run)):
                if (branch := self._below(node).get(run[end])) is None:
                    break
                node, text = branch
                if text is not None:
                    new, after = text, end + 1
            found.append(new)
            place = after
        return "".join(found)

    def _tails(self, nodes: list[int]) -> set[str]:
        """All characters below some nodes."""
        found, seen = set[str](), set(nodes)
        while nodes:
            branches = self._below(nodes.pop())
            found.update(branches)
            new = {node for node, _ in branches.values()} - seen
            seen |= new
            nodes += new
        return found

    def _below(self, node: int) -> Branches:
        """The characters that a node leads to, whose bytes are up to four steps."""
        if node in self._known:
            return self._known[node]
        branches: Branches = {}
        ways, steps = [(node, b"")], 0
        while ways:
            above, key = ways.pop()
            for place in self._children.get(above, ()):
                unit, steps = self._units[place], steps + 1
                longer, under = key + bytes([unit & 0xFF]), place ^ _offset(self._units[place])
                if steps > MOST or under >= len(self._units):
                    raise ValueError("the table of characters is no tree")
                if len(longer) < _size(longer[0]):
                    ways.append((under, longer))
                else:
                    ends = unit >> 8 & 1
                    branches[_text(longer)] = under, self._text_at(self._units[under] & 0x7FFFFFFF) if ends else None
        self._known[node] = branches
        return branches

    def _text_at(self, start: int) -> str:
        end = self._texts.find(b"\0", start)
        if end < 0:
            raise ValueError("the table of characters points behind its end")
        return _text(self._texts[start:end])


def _offset(unit: int) -> int:
    """How far the children of a unit are: 22 bits, times 256 where bit 9 is set."""
    return unit >> 10 << ((unit >> 6) & 8)


def _size(first: int) -> int:
    """Bytes of a character by its first one."""
    return 1 + (first >= 0xC0) + (first >= 0xE0) + (first >= 0xF0)


def _text(content: bytes) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise ValueError("the table of characters holds what is not UTF-8") from None


def _any_of(characters: Iterable[str]) -> str:
    """A pattern for one of these; Python has a table for sets of characters up to U+FFFF, and looks through others."""
    near: list[str] = []
    far: list[str] = []
    for each in sorted(characters):
        (near if each <= "\uffff" else far).append(f"\\U{ord(each):08x}")
    patterns = [f"[{''.join(near)}]"] if near else []
    patterns += [f"(?=[{_FAR}])[{''.join(far)}]"] if far else []
    return f"(?:{'|'.join(patterns)})"

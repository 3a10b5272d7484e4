"""What a run has drawn and written: pictures as data URIs and texts, from the folders samples/ and plots/."""

import base64
import re
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from d2lcli.reporting.markup import folded, lines, text

FOLDERS = ("samples", "plots")
MOST = 12  # pictures or texts of a folder
LARGEST = 4 << 20  # bytes of one picture
BUDGET = 24 << 20  # bytes of all pictures of a report
CRISP, LARGE = 250, 500  # pixels: narrower pictures are enlarged with hard edges; wider ones get more room
TEXT = 6_000  # characters of one text
PICTURES = {".png", ".jpg", ".jpeg", ".gif"}
TEXTS = {".txt", ".md", ".json", ".jsonl", ".tsv", ".csv"}
SHORT = 20  # lines of a text that need no click
MAGIC = {b"\x89PNG\r\n\x1a\n": "png", b"\xff\xd8\xff": "jpeg", b"GIF87a": "gif", b"GIF89a": "gif"}


@dataclass
class Purse:
    """How many bytes of pictures a report may still take in."""

    left: int = BUDGET

    def take(self, size: int) -> bool:
        """Whether so many bytes are left; they are gone then."""
        fits = size <= self.left
        self.left -= size if fits else 0
        return fits


def gallery(folder: Path, purse: Purse) -> str:
    """The pictures and texts below a run's or a study's folder; nothing where there are none."""
    pieces = []
    for name in FOLDERS:
        files = [*_files(folder / name)]
        pictures = [path for path in files if path.suffix in PICTURES]
        texts = [path for path in files if path.suffix in TEXTS]
        shown = [figure for path in choose(pictures) if (figure := _picture(path, folder, purse))]
        for kind in ("small", "large"):
            figures = [figure for figure in shown if figure.startswith(f'<figure class="{kind}')]
            if figures:
                pieces.append(f'<div class="gallery {kind}">{"".join(figures)}</div>')
        pieces += [each for path in choose(texts) if (each := _text(path, folder))]
        hidden = len(pictures) - len(shown) + max(0, len(texts) - MOST)
        if hidden:
            pieces.append(f'<p class="note">{hidden:,} more files are in {text(name)}/</p>')
    return "\n".join(pieces)


def choose(paths: Sequence[Path]) -> list[Path]:
    """At most `MOST` files: of those that are numbered by step some from first to last, of others the newest."""
    numbered = sorted(path for path in paths if re.search(r"step-\d+$", path.stem))
    others = sorted((path for path in paths if path not in set(numbered)), key=lambda path: -path.stat().st_mtime)
    most = MOST // 2 if others and numbered else MOST
    if len(numbered) > most:
        numbered = [numbered[round(index * (len(numbered) - 1) / (most - 1))] for index in range(most)]
    return numbered + sorted(others[: MOST - len(numbered)])


def _files(folder: Path) -> Iterator[Path]:
    """Regular files below a folder, without links: what a report shows lies in the run itself."""
    if folder.is_symlink() or not folder.is_dir():
        return
    for path in sorted(folder.iterdir()):
        mode = path.lstat().st_mode
        if stat.S_ISDIR(mode):
            yield from _files(path)
        elif stat.S_ISREG(mode):
            yield path


def _picture(path: Path, folder: Path, purse: Purse) -> str:
    """A picture that is one by its first bytes and not too large."""
    size = path.stat().st_size
    if not 0 < size <= LARGEST:
        return ""
    content = path.read_bytes()
    kind = next((kind for magic, kind in MAGIC.items() if content.startswith(magic)), "")
    if not kind or not purse.take(size):
        return ""
    name = text(path.relative_to(folder), 120)
    data = base64.b64encode(content).decode()
    width = _width(content) if kind in ("png", "gif") else LARGE
    look = "large" if width >= LARGE else "small crisp" if width < CRISP else "small"
    source = f"data:image/{kind};base64,{data}"
    return f'<figure class="{look}"><img src="{source}" alt="{name}"><figcaption>{name}</figcaption></figure>'


def _width(content: bytes) -> int:
    """Of a PNG or a GIF, in pixels."""
    png = content.startswith(b"\x89PNG")
    return int.from_bytes(content[16:20], "big") if png else int.from_bytes(content[6:8], "little")


def _text(path: Path, folder: Path) -> str:
    with path.open("rb") as file:
        content = file.read(4 * TEXT + 1).decode("utf-8", "replace")
    if not content.strip():
        return ""
    more = f"\n... the whole text has {path.stat().st_size:,} bytes" if len(content) > TEXT else ""
    shown = f"<pre>{lines(content[:TEXT])}{more}</pre>"
    return folded(str(path.relative_to(folder)), shown, opened=content.count("\n") <= SHORT)

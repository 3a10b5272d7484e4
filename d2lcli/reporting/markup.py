"""HTML from plain text: whatever a run says of itself stays text."""

from collections.abc import Iterable, Sequence
from html import escape

from d2lcli.errors import clean


def text(value: object, limit: int = 300) -> str:
    """One line of outside text for HTML: control and bidirectional characters spelt out, cut, then escaped."""
    return escape(clean(value, limit))


def lines(value: str, limit: int = 20_000) -> str:
    """Text of several lines for `<pre>`, its breaks kept; what is beyond `limit` characters is counted."""
    shown = "\n".join(escape(clean(line.expandtabs(4), limit)) for line in value[:limit].splitlines())
    more = len(value) - limit
    return f"{shown}\n... {more:,} more characters" if more > 0 else shown


def section(name: str, title: str, content: Iterable[str]) -> str:
    """A part of the page that a link can lead to; nothing where it has no content."""
    inner = "\n".join(piece for piece in content if piece)
    return f'<section id="{escape(name)}">\n<h2>{escape(title)}</h2>\n{inner}\n</section>' if inner else ""


def table(heads: Sequence[str], rows: Iterable[Sequence[str]], kind: str = "") -> str:
    """A table that scrolls sideways where the window is narrow; heads and cells are HTML already."""
    head = "".join(f'<th scope="col">{each}</th>' for each in heads)
    body = "\n".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    attribute = f' class="{escape(kind)}"' if kind else ""
    opening = f'<div class="wide"><table{attribute}>'
    return f"{opening}<thead><tr>{head}</tr></thead><tbody>\n{body}\n</tbody></table></div>"


def folded(title: str, content: str, *, opened: bool = False) -> str:
    """Content behind a line that opens it; the title is plain text."""
    return f"<details{' open' if opened else ''}><summary>{text(title)}</summary>\n{content}\n</details>"

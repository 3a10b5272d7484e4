"""A chart as inline SVG: axes with round ticks, lines, and for the pointer a column at each place with its values."""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from d2lcli.reporting.curves import Chart, Line
from d2lcli.reporting.markup import text
from d2lcli.reporting.scales import Scale, figure, fit, labels

WIDTH, HEIGHT = 440, 250
LEFT, RIGHT, TOP, BOTTOM = 48, 12, 10, 36
COLUMNS = 60  # places that answer the pointer
MARKED = 40  # so many evaluations have a dot each


@dataclass(frozen=True)
class Axis:
    """What lies along the bottom.

    Args:
        kind: step, epoch or seconds, as in `Line.xs`.
        title: for people, with the unit.
        unit: what places are divided by: 60 for seconds that are shown as minutes.
        end: of all charts of a page, in units of the log.
    """

    kind: str
    title: str
    unit: float
    end: float

    def place(self, value: float) -> str:
        """A place for people."""
        return f"{self.title} {figure(round(value / self.unit, 4))}"


def draw(chart: Chart, axis: Axis, hues: Sequence[str]) -> str:
    """The SVG element.

    Args:
        chart: what to draw.
        axis: along the bottom.
        hues: the CSS classes of each run.
    """
    known = [value for line in chart.lines for value in line.ys if value == value]
    if not known:
        return '<p class="note">no finite value</p>'
    across = Scale(0.0, (axis.end or 1.0) / axis.unit, LEFT, WIDTH - RIGHT)
    up = fit(known, HEIGHT - BOTTOM, TOP, chart.log)
    pieces = [*_axes(axis, across, up), *_columns(chart, axis, across), *_lines(chart, axis, across, up, hues)]
    name = text(f"{chart.title} by {axis.title}" + (", logarithmic" if chart.log else ""))
    opening = f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" class="x-{axis.kind}" role="img" aria-label="{name}">'
    return opening + "".join(pieces) + "</svg>"


def _axes(axis: Axis, across: Scale, up: Scale) -> Iterator[str]:
    """Grid lines and numbers."""
    floor = HEIGHT - BOTTOM
    for value, label in zip(up.ticks(), labels(up.ticks())):
        y = _short(up(value))
        yield f'<path class="grid" d="M{LEFT} {y}H{WIDTH - RIGHT}"/>'
        yield f'<text x="{LEFT - 6}" y="{y}" dy=".33em" class="end">{label}</text>'
    yield f'<path class="axis" d="M{LEFT} {floor}H{WIDTH - RIGHT}"/>'
    places = [value for value in across.ticks() if axis.kind != "step" or value == int(value)]
    for value, label in zip(places, labels(places)):
        x = _short(across(value))
        yield f'<path class="axis" d="M{x} {floor}v4"/>'
        yield f'<text x="{x}" y="{floor + 15}" class="mid">{label}</text>'
    yield f'<text x="{(LEFT + WIDTH - RIGHT) / 2:g}" y="{HEIGHT - 5}" class="mid name">{text(axis.title)}</text>'


def _lines(chart: Chart, axis: Axis, across: Scale, up: Scale, hues: Sequence[str]) -> Iterator[str]:
    """Faint lines first, then the others, then dots; the first run on top."""
    order = {"raw": 0, "line": 1, "marked": 2}
    both = {line.style for line in chart.lines} >= {"line", "marked"}
    for line in sorted(chart.lines, key=lambda line: (order[line.style], -line.run)):
        places = [across(x / axis.unit) for x in line.xs[axis.kind]]
        heights = [up(y) if y == y else None for y in line.ys]
        kind = "thin" if both and line.style == "line" else line.style
        yield f'<path class="{kind} {hues[line.run]}" d="{_path(places, heights)}"/>'
        if line.style == "marked" or len(line.ys) == 1:
            yield from _dots(line, axis, places, heights, hues[line.run])


def _dots(line: Line, axis: Axis, places: Sequence[float], heights: Sequence[float | None], hue: str) -> Iterator[str]:
    """Evaluations, where they are few, and the best one in any case, as a ring."""
    for index, (x, y) in enumerate(zip(places, heights)):
        best = index == line.best
        if y is not None and (best or len(places) <= MARKED):
            place = axis.place(line.xs[axis.kind][index])
            title = text(f"{line.label}: {line.ys[index]!r}, {place}" + (", best" if best else ""))
            kind, radius = ("best", 4) if best else ("dot", 2.2)
            circle = f'<circle class="{kind} {hue}" cx="{_short(x)}" cy="{_short(y)}" r="{radius}">'
            yield f"{circle}<title>{title}</title></circle>"


def _path(places: Sequence[float], heights: Sequence[float | None]) -> str:
    """Connected points; a value that is not finite breaks the line, and one alone between two breaks is a dot."""
    words: list[str] = []
    pen = ""
    for x, y in zip(places, heights):
        if y is None:
            pen = ""
            continue
        words.append(f"{pen or 'M'}{_short(x)} {_short(y)}" + ("" if pen else "h0"))
        pen = "L"
    return "".join(words)


def _columns(chart: Chart, axis: Axis, across: Scale) -> Iterator[str]:
    """Invisible columns beneath the pointer, each with a tooltip: the values of all lines there."""
    lines = [line for line in chart.lines if line.style != "raw"]
    places = sorted({x for line in lines for x in line.xs[axis.kind]})
    if len(places) > COLUMNS:
        wanted = [places[0] + (places[-1] - places[0]) * number / (COLUMNS - 1) for number in range(COLUMNS)]
        places = sorted({_nearest(places, x) for x in wanted})
    pixels = [across(x / axis.unit) for x in places]
    edges = [LEFT, *((a + b) / 2 for a, b in pairwise(pixels)), WIDTH - RIGHT]
    for x, start, end in zip(places, edges, edges[1:]):
        reach = (end - start) / (across.end - across.start) * axis.end
        said = [f"{line.label}: {value}" for line in lines if (value := _value(line, axis.kind, x, reach))]
        if said:
            title = "\n".join(text(each) for each in [axis.place(x), *said[:16]])
            more = f"\nand {len(said) - 16} more" if len(said) > 16 else ""
            size = f'width="{_short(end - start)}" height="{HEIGHT - TOP - BOTTOM}"'
            rectangle = f'<rect x="{_short(start)}" y="{TOP}" {size}/>'
            yield f'<g class="look"><title>{title}{more}</title>{rectangle}</g>'


def _value(line: Line, kind: str, x: float, reach: float) -> str:
    """The value of a line at the place nearest to `x`, if it has one within reach."""
    places = line.xs[kind]
    index = min(bisect_left(places, x), len(places) - 1)
    if index and abs(places[index - 1] - x) < abs(places[index] - x):
        index -= 1
    return figure(line.ys[index]) if abs(places[index] - x) <= reach else ""


def _nearest(places: Sequence[float], x: float) -> float:
    index = min(bisect_left(places, x), len(places) - 1)
    return min(places[max(0, index - 1) : index + 1], key=lambda place: abs(place - x))


def _short(pixel: float) -> str:
    return f"{pixel:.1f}".removesuffix(".0")

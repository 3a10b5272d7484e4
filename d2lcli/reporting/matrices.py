"""Confusion matrices as heat tables, and other tables of numbers.

They are from a run's last evaluation, and from what `d2l evaluate --json` has left.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from d2lcli.reporting.markup import text
from d2lcli.reporting.read import RunData
from d2lcli.reporting.summary import measured

MOST = 60  # classes in a table
SHOWN = 24  # so many have their counts written into the cells
PAIRS = 5
LONGEST = 24  # characters of a class's name
LEVELS = 20  # of darkness


def heat_rules() -> str:
    """The CSS of the levels; on a dark cell the text is light."""
    rules = []
    for level in range(LEVELS + 1):
        ink = ";color:var(--paper)" if level > 0.55 * LEVELS else ""
        shade = f"color-mix(in srgb,var(--accent) {100 * level // LEVELS}%,transparent)"
        rules.append(f".heat .h{level}{{background:{shade}{ink}}}")
    return "\n".join(rules) + "\n"


def matrices(run: RunData) -> Iterator[str]:
    """The tables of numbers of a run, each under its title; one that two files hold comes once."""
    seen = []
    for title, name, grid in _grids(run):
        if grid in seen or not is_grid(grid):
            continue
        seen.append(grid)
        heading = f"<h3>{text(f'{run.name}: {title}')}</h3>"
        confusion = "confusion" in name and len(grid) == len(grid[0]) > 1 and min(map(min, grid)) >= 0
        yield heading + (heat_table(grid, class_names(run, len(grid))) if confusion else _plain_table(grid))


def class_names(run: RunData, size: int) -> list[str]:
    """What to call each class: its number, with the name that the data gives it where it has one."""
    known = run.meta.get("data")
    names = known.get("classes") if isinstance(known, dict) else None
    if not isinstance(names, list) or len(names) != size:
        return [str(number) for number in range(size)]
    return [text(f"{number} {str(name)[:LONGEST]}") for number, name in enumerate(names)]


def _grids(run: RunData) -> Iterator[tuple[str, str, Any]]:
    """Title, name and content of what may be a table."""
    for (split, name), (step, grid) in run.log.grids.items():
        yield f"{split} {name.replace('_', ' ')} at step {int(step):,}", name, grid
    for file, document in run.documents.items():
        metrics = document.get("metrics")
        for name, grid in metrics.items() if isinstance(metrics, dict) else ():
            place = f"{document.get('split', '')} {name.replace('_', ' ')} at step {document.get('step', '')}"
            yield f"{place}, from {file}", name, grid


def is_grid(grid: Any) -> bool:
    """Whether `grid` is a rectangle of finite numbers."""
    return (
        isinstance(grid, list)
        and len(grid) > 0
        and all(isinstance(row, list) and len(row) == len(grid[0]) > 0 for row in grid)
        and all(isinstance(value, int | float) and abs(value) < 1e15 for row in grid for value in row)
    )


def _plain_table(grid: list[list[float]]) -> str:
    if max(len(grid), len(grid[0])) > SHOWN:
        return f'<p class="note">{len(grid)} x {len(grid[0])} numbers are too many for a table</p>'
    rows = ("<tr>" + "".join(f"<td>{measured(value)}</td>" for value in row) + "</tr>" for row in grid)
    return f'<div class="wide"><table class="numbers"><tbody>{"".join(rows)}</tbody></table></div>'


def heat_table(grid: list[list[float]], names: Sequence[str]) -> str:
    """Rows are true classes; a cell is the darker the larger its share of the row is.  The recall ends each row.

    Args:
        grid: counts.
        names: of the classes, as HTML.
    """
    size = len(grid)
    if size > MOST:
        return f'<p class="note">{size} classes are too many for a table. {_confused(grid, names)}</p>'
    heads = "".join(f'<th scope="col" title="{name}">{column}</th>' for column, name in enumerate(names))
    rows = "\n".join(_row(number, row, names) for number, row in enumerate(grid))
    note = f'<p class="note">Row: true class; column: predicted. {_confused(grid, names)}</p>'
    kind = "heat" if size <= SHOWN else "heat small"
    top = f'<tr><th></th>{heads}<th scope="col">recall</th></tr>'
    return f'<div class="wide"><table class="{kind}"><thead>{top}</thead><tbody>{rows}</tbody></table></div>{note}'


def _row(number: int, row: list[float], names: Sequence[str]) -> str:
    total, size = sum(row), len(names)
    cells = []
    for column, value in enumerate(row):
        share = value / total if total else 0.0
        said = f"true {names[number]}, predicted {names[column]}: {value:g} ({share:.1%})"
        level = round(share * LEVELS)
        right = " right" if column == number else ""
        shown = f"{value:g}" if size <= SHOWN else ""
        cells.append(f'<td class="h{level}{right}" title="{said}">{shown}</td>')
    recall = f"{row[number] / total:.1%}" if total else ""
    return f'<tr><th scope="row">{names[number]}</th>{"".join(cells)}<td class="rate">{recall}</td></tr>'


def _confused(grid: list[list[float]], names: Sequence[str]) -> str:
    """The largest counts off the diagonal, in words."""
    total = sum(map(sum, grid))
    pairs = sorted(
        ((value, true, found) for true, row in enumerate(grid) for found, value in enumerate(row) if true != found),
        reverse=True,
    )
    said = [f"{names[true]} taken for {names[found]} ({value:g})" for value, true, found in pairs[:PAIRS] if value]
    right = sum(grid[number][number] for number in range(len(grid)))
    accuracy = f"{right:g} of {total:g} are right ({right / total:.1%})" if total else "no examples"
    return f"{accuracy}; most often: {', '.join(said)}." if said else f"{accuracy}."

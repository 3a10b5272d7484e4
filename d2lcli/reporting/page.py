"""The whole page: one HTML file that loads nothing and runs nothing; what can be chosen is chosen by CSS."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path

from d2lcli.reporting.curves import Chart
from d2lcli.reporting.find import Found
from d2lcli.reporting.findings import diagnoses
from d2lcli.reporting.markup import folded, section, table, text
from d2lcli.reporting.matrices import heat_rules, matrices
from d2lcli.reporting.read import RunData
from d2lcli.reporting.samples import Purse, gallery
from d2lcli.reporting.searches import search
from d2lcli.reporting.settings import configs, origin
from d2lcli.reporting.summary import measured, notes, summary
from d2lcli.reporting.svg import Axis, draw
from d2lcli.reporting.values import mapping

HUES = 7  # colours; further runs have them again, dashed and then dotted
LEGEND = 8  # so many runs are named below each chart
MOST_NOTES = 12  # more are folded
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def page(found: Found, charts: Sequence[Chart], left_out: int) -> str:
    """The HTML of a report.

    Args:
        found: what it is about.
        charts: of the runs.
        left_out: how many more quantities there are.
    """
    runs = found.runs
    hues = [f"k{number % HUES} d{number // HUES % 3} r{number}" for number in range(len(runs))]
    axes = _axes(runs)
    parts = {
        "notes": section("notes", "Notes", _notes(found)),
        "search": section("search", "Search", _searches(found)),
        "runs": section("runs", "Runs", [summary(runs, hues), *_folds(found)]) if runs else "",
        "curves": section("curves", "Curves", _curves(runs, charts, axes, hues, left_out)),
        "matrices": section("matrices", "Matrices", (each for run in runs for each in matrices(run))),
        "samples": section("samples", "Samples and plots", _samples(found)),
        "diagnosis": section("diagnosis", "Diagnosis", (each for run in runs for each in diagnoses(run))),
        "config": section("config", "Config", configs(runs)),
        "origin": section("origin", "Commands, versions, data", (origin(run) for run in runs)),
    }
    shown = {name: content for name, content in parts.items() if content}
    links = "".join(f'<a href="#{name}">{name}</a>' for name in shown)
    style = Path(__file__).with_name("style.css").read_text("utf-8")
    title = text(found.title)
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title} - d2l report</title>
<style>
{style}{heat_rules()}{_choices(runs, axes)}</style>
</head>
<body>
{_inputs(runs, axes)}
<header>
<p class="dim">d2l report, {datetime.now().astimezone():%Y-%m-%d %H:%M %Z}</p>
<h1>{title}</h1>
<nav>{links}</nav>
</header>
<main>
{chr(10).join(shown.values())}
</main>
</body>
</html>
"""


def _axes(runs: Sequence[RunData]) -> list[Axis]:
    """What curves can be drawn over; time in the unit that suits the longest run."""
    series = [each for run in runs for each in run.log.series.values()]
    ends = {
        "step": max((max(each.steps, default=0.0) for each in series), default=0.0),
        "epoch": max((max(each.epochs, default=0.0) for each in series), default=0.0),
        "seconds": max((max(each.seconds, default=0.0) for each in series), default=0.0),
    }
    names = {"step": ("step", 1.0), "epoch": ("epoch", 1.0), "seconds": ("seconds", 1.0)}
    for title, unit in (("minutes", 60.0), ("hours", 3600.0)):
        if ends["seconds"] > 3 * unit:
            names["seconds"] = title, unit
    return [Axis(kind, *names[kind], end) for kind, end in ends.items() if end > 0]


def _inputs(runs: Sequence[RunData], axes: Sequence[Axis]) -> str:
    """The state of what can be chosen, ahead of all that depends on it; its labels stand beside the curves."""
    made = [
        f'<input type="radio" name="axis" id="by-{axis.kind}" class="choice"{"" if number else " checked"}>'
        for number, axis in enumerate(axes)
    ]
    if len(runs) > 1:
        made += [f'<input type="checkbox" id="show-{number}" class="choice" checked>' for number in range(len(runs))]
    return "\n".join(made)


def _choices(runs: Sequence[RunData], axes: Sequence[Axis]) -> str:
    """The CSS by which an input hides what was not chosen, and shows its label so."""
    rules = []
    for axis in axes:
        rules.append(f"#by-{axis.kind}:not(:checked)~main .x-{axis.kind}{{display:none}}")
        rules.append(
            f"#by-{axis.kind}:checked~main [for=by-{axis.kind}]{{color:var(--paper);background:var(--accent)}}"
        )
        rules.append(f"#by-{axis.kind}:focus-visible~main [for=by-{axis.kind}]{{outline:2px solid var(--ink)}}")
    for number in range(len(runs) if len(runs) > 1 else 0):
        rules.append(f"#show-{number}:not(:checked)~main .chart svg .r{number}{{display:none}}")
        rules.append(f"#show-{number}:not(:checked)~main [for=show-{number}]{{opacity:.4}}")
        rules.append(f"#show-{number}:focus-visible~main [for=show-{number}]{{outline:2px solid var(--ink)}}")
    return "\n".join(rules) + "\n"


def _notes(found: Found) -> Iterator[str]:
    """What must be known before a curve is believed."""
    said = [(run.name, note) for run in found.runs for note in notes(run)]
    said += [(study.path.name, note) for study in found.studies for note in study.notes]
    if said:
        rows = [f"<li><b>{text(name, 80)}</b> {text(note)}</li>" for name, note in said]
        yield f'<ul class="notes">{"".join(rows[:MOST_NOTES])}</ul>'
        if rest := rows[MOST_NOTES:]:
            yield folded(f"{len(rest):,} more", f'<ul class="notes">{"".join(rest)}</ul>')


def _folds(found: Found) -> Iterator[str]:
    """Means and standard deviations of cross-validations."""
    for folder, result in found.folds:
        means, spread = mapping(result.get("metrics")), mapping(result.get("std"))
        if means:
            rows = ([text(name, 80), measured(mean), measured(spread.get(name, ""))] for name, mean in means.items())
            title = f"{folder.name}: {result.get('cv')} folds"
            yield f"<h3>{text(title)}</h3>\n{table(['metric', 'mean', 'standard deviation'], rows, 'numbers')}"


def _searches(found: Found) -> Iterator[str]:
    for study in found.studies:
        if len(found.studies) > 1:
            yield f"<h3>{text(study.path.name)}</h3>"
        yield from search(study)


def _curves(
    runs: Sequence[RunData], charts: Sequence[Chart], axes: Sequence[Axis], hues: Sequence[str], left_out: int
) -> Iterator[str]:
    """Switches, then a chart for each quantity, drawn once over each axis."""
    if not charts or not axes:
        return
    picks = "".join(f'<label for="by-{axis.kind}">{axis.title}</label>' for axis in axes)
    names = "".join(
        f'<label for="show-{number}"><span class="key {hue}"></span>{text(run.name, 60)}</label>'
        for number, (run, hue) in enumerate(zip(runs, hues))
        if len(runs) > 1
    )
    shown = f'<span class="runs">{names}</span>' if names else ""
    yield f'<div class="switches"><span class="axes">{picks}</span>{shown}</div>'
    figures = []
    for chart in charts:
        drawn = "".join(draw(chart, axis, hues) for axis in axes)
        figures.append(
            f'<figure class="chart"><h3>{text(chart.title)}</h3>{drawn}{_caption(chart, runs, hues)}</figure>'
        )
    yield f'<div class="charts">{"".join(figures)}</div>'
    if left_out:
        yield f'<p class="note">{left_out:,} more quantities are in metrics.jsonl and TensorBoard</p>'


def _caption(chart: Chart, runs: Sequence[RunData], hues: Sequence[str]) -> str:
    """Whose lines these are, and what their looks mean."""
    present = sorted({line.run for line in chart.lines})
    keys = (f'<span><span class="key {hues[run]}"></span>{text(runs[run].name, 40)}</span> ' for run in present)
    names = f"<div>{''.join(keys)}</div>" if 1 < len(runs) <= LEGEND else ""
    said = []
    styles = {line.style for line in chart.lines}
    if {"line", "marked"} <= styles:
        said.append("thin: training; dots: validation")
    if chart.window:
        mean = f"running mean over about {chart.window:,} rows"
        said.append(f"faint: as logged; in front of it its {mean}" if "raw" in styles else mean)
    if chart.log:
        said.append("logarithmic")
    return f"<figcaption>{names}{'; '.join(said)}</figcaption>" if names or said else ""


def _samples(found: Found) -> Iterator[str]:
    purse = Purse()
    folders = [(study.path.name, study.path) for study in found.studies]
    folders += [(run.name, run.path) for run in found.runs]
    for name, path in folders:
        if shown := gallery(path, purse):
            yield f"<h3>{text(name, 80)}</h3>\n{shown}"

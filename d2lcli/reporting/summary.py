"""The headline of a report: what each run is, how far it came, how good and how fast it was."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from d2lcli.reporting.markup import table, text
from d2lcli.reporting.read import RunData
from d2lcli.reporting.scales import duration, figure
from d2lcli.reporting.values import mapping, number, whole

Cell = Callable[[RunData], str]
CALM = ("finished", "running", "paused")


def summary(runs: Sequence[RunData], hues: Sequence[str]) -> str:
    """One run as a list of figures, several as a table with the best value set off."""
    columns = {head: [cell(run) for run in runs] for head, cell in _columns(runs).items()}
    columns = {head: cells for head, cells in columns.items() if any(cells)}
    if len(runs) == 1:
        entries = (f"<div><dt>{head}</dt><dd>{cells[0]}</dd></div>" for head, cells in columns.items() if cells[0])
        return f'<dl class="tiles">{"".join(entries)}</dl>'
    names = (f'<span class="key {hue}"></span>{text(run.name, 80)}' for run, hue in zip(runs, hues))
    return table(["run", *columns], zip(names, *columns.values()), "numbers")


def plain(run: RunData) -> dict[str, Any]:
    """The same for programs: what `d2l report --json` prints of a run."""
    best = run.best
    return {
        "run": str(run.path),
        "name": run.name,
        "model": run.option("model", "name"),
        "data": run.option("data", "name"),
        "status": run.status,
        "steps": run.steps,
        "monitor": run.monitor,
        "mode": "max" if run.higher_is_better else "min",
        "best": best.value if best else None,
        "best_step": best.step if best else None,
        "last": run.last,
        "seconds": seconds(run),
        "examples_per_second": number(run.result.get("examples_per_second")),
        "parameters": whole(run.result.get("parameters")),
        "notes": list(notes(run)),
    }


def notes(run: RunData) -> Iterator[str]:
    """What a reader of the curves must know: a run that did not end well, numbers that are none."""
    yield from run.notes
    if run.status not in CALM:
        error = run.result.get("error")
        yield f"{run.status}: {error}" if error else f"{run.status} at step {run.steps:,}"
    if not run.log.rows:
        yield "has logged nothing yet"
    for (split, name), series in run.log.series.items():
        if series.nonfinite:
            first = int(series.first_nonfinite or 0)
            count = f"{series.nonfinite:,} of {len(series):,} rows"
            yield f"{split} {name}: {count} are not finite, the first at step {first:,}"


def seconds(run: RunData) -> float | None:
    """The time of the run."""
    found = number(run.result.get("seconds"))
    return found if run.settled and found is not None else run.log.seconds


def measured(value: object) -> str:
    """A number, shortened, with all its digits as a tooltip."""
    shown = figure(value)
    return text(shown) if shown == str(value) else f'<span title="{text(repr(value))}">{text(shown)}</span>'


def _columns(runs: Sequence[RunData]) -> dict[str, Cell]:
    """Heads and how to fill the cells; the metric stands in the head where all runs have the same."""
    names = {(run.monitor, run.higher_is_better) for run in runs}
    arrow = "&uarr;" if runs and runs[0].higher_is_better else "&darr;"
    same = f"{text(runs[0].monitor, 40)} {arrow}" if len(names) == 1 else "value"
    winner = _winner(runs) if len(names) == 1 and len(runs) > 1 else None

    def best(run: RunData) -> str:
        found = run.best
        if found is None:
            return ""
        name = "" if len(names) == 1 else f"{text(run.monitor, 40)} {'&uarr;' if run.higher_is_better else '&darr;'} "
        shown = (
            f"<strong>{measured(found.value)}</strong>" if run is winner or len(runs) == 1 else measured(found.value)
        )
        return name + shown + (f' <span class="dim">at step {found.step:,}</span>' if found.step is not None else "")

    return {
        "model": lambda run: text(run.option("model", "name") or "", 60),
        "data": lambda run: text(run.option("data", "name") or "", 60),
        "status": _status,
        f"best {same}": best,
        f"last {same}": lambda run: "" if run.last is None else measured(run.last),
        "steps": _steps,
        "time": lambda run: "" if (spent := seconds(run)) is None else duration(spent),
        "examples/s": lambda run: _count(run.result.get("examples_per_second")),
        "parameters": lambda run: _count(run.result.get("parameters")),
        "device": _device,
        "share of peak": _share,
    }


def _winner(runs: Sequence[RunData]) -> RunData | None:
    """The run with the best value, where it is better than another's."""
    known = [(run.best.value, run) for run in runs if run.best]
    if len({value for value, _ in known}) < 2:
        return None
    sign = 1 if runs[0].higher_is_better else -1
    return max(known, key=lambda each: sign * each[0])[1]


def _status(run: RunData) -> str:
    kind = "good" if run.status == "finished" else "" if run.status in CALM else "bad"
    return f'<span class="status {kind}">{text(run.status, 40)}</span>'


def _steps(run: RunData) -> str:
    epochs = number(run.result.get("epochs")) if run.settled else None
    unit = "epoch" if epochs == 1 else "epochs"
    more = f' <span class="dim">{figure(float(epochs))} {unit}</span>' if epochs is not None else ""
    return f"{run.steps:,}{more}"


def _count(value: Any) -> str:
    found = number(value)
    if found is None:
        return ""
    return f"{found:,.0f}" if 100 <= found < 1e15 else measured(found)


def _device(run: RunData) -> str:
    device = run.result.get("device") or run.meta.get("device")
    strategy, devices = run.option("strategy", "name"), run.option("hardware", "devices")
    several = f", {strategy} on {devices}" if strategy not in (None, "single") else ""
    precision = run.result.get("precision") or run.meta.get("precision")
    return text(f"{device}, {precision}{several}", 80) if device else ""


def _share(run: RunData) -> str:
    """Of the peak that `d2l bench` has measured, and what bounds the speed."""
    found = mapping(run.result.get("machine"))
    share = number(found.get("share_of_peak"))
    if share is None or not 0 <= share < 10:
        return ""
    return f'{share:.0%} <span class="dim">bound by {text(found.get("bound"), 40)}</span>'

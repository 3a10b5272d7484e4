"""Which charts a report has, and their lines: thinned so that no extreme is lost, smoothed where rows are noisy."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from d2lcli.registry import METRICS
from d2lcli.reporting.log import Series
from d2lcli.reporting.read import RunData

POINTS = 500  # of one line
LEAST_POINTS = 40
ALL_POINTS = 12_000  # of all lines of a chart
FAINT = 8  # of more runs noisy values are not drawn behind their mean
TOGETHER = 3  # so many runs show training and validation in one chart
MOST_CHARTS = 40
ROUGH = 8.0  # ups and downs in multiples of the range, from which on a line is smoothed
WIDE = 50.0  # largest over smallest value, from which on an axis is logarithmic
TITLES = {"lr": "learning rate", "grad_norm": "gradient norm"}


@dataclass(frozen=True)
class Line:
    """One line of a chart.

    Args:
        run: the number of its run.
        label: for people, such as "lenet, validation".
        style: line, raw (faint, behind a smoothed one), or marked (each value is an evaluation).
        xs: the places by kind: step, epoch, seconds.
        ys: the values; nan breaks the line.
        best: the index of the point that is marked as the best; None for no mark.
    """

    run: int
    label: str
    style: str
    xs: dict[str, list[float]]
    ys: list[float]
    best: int | None = None


@dataclass(frozen=True)
class Chart:
    """One quantity, all runs.

    Args:
        key: for names of files.
        title: for people.
        log: whether the values' axis is logarithmic.
        lines: in the order of the runs.
        window: over how many rows, at the most, smoothed lines were averaged; 0 where none is.
    """

    key: str
    title: str
    log: bool
    lines: list[Line] = field(default_factory=list)
    window: int = 0


def charts(runs: Sequence[RunData]) -> tuple[list[Chart], int]:
    """All charts, the loss and the monitored values first; and how many more there would be."""
    groups = [*_groups(runs)]
    limit = max(LEAST_POINTS, min(POINTS, ALL_POINTS // max(1, len(runs))))
    return [_chart(name, splits, runs, limit) for name, splits in groups[:MOST_CHARTS]], len(groups[MOST_CHARTS:])


def _groups(runs: Sequence[RunData]) -> Iterator[tuple[str, list[str]]]:
    """The name of a quantity and the splits in one chart."""
    keys = list(dict.fromkeys(key for run in runs for key in run.log.series))
    monitored = dict.fromkeys(run.monitor for run in runs)
    first = ["loss", *(name for name in monitored if name != "loss")]
    logged = dict.fromkeys(name for split, name in keys if split != "train")
    train = dict.fromkeys(name for split, name in keys if split == "train")
    middle = [name for name in [*logged, *(name for name in TITLES if name in train), *train] if name not in first]
    for name in dict.fromkeys([*first, *middle]):
        splits = sorted({split for split, other in keys if other == name}, key=_order)
        if not splits:
            continue
        if len(runs) <= TOGETHER:
            yield name, splits
        else:
            yield from ((name, [split]) for split in sorted(splits, key=_order, reverse=name == "loss"))


def _order(split: str) -> tuple[int, str]:
    return {"val": 0, "test": 1, "train": 2}.get(split, 3), split


def _chart(name: str, splits: list[str], runs: Sequence[RunData], limit: int) -> Chart:
    lines: list[Line] = []
    window = 0
    for number, run in enumerate(runs):
        for split in sorted(splits, key=_order, reverse=True):
            series = run.log.series.get((split, name))
            if series is None:
                continue
            words = {"val": "validation", "train": "training"}.get(split, split)
            label = run.name if len(splits) == 1 else f"{run.name}, {words}"
            if split == "train":
                made, size = _training(number, label, series, limit, alone=len(runs) > FAINT)
            else:
                best = run.best if split == "val" and name == run.monitor else None
                made, size = [_evaluations(number, label, series, limit, best.step if best else None)], 0
            lines, window = lines + made, max(window, size)
    title = TITLES.get(name, name.replace("_", " "))
    if len(splits) == 1 and (name == "loss" or splits != ["train"]):
        title = {"val": "validation ", "train": "training "}.get(splits[0], f"{splits[0]} ") + title
    key = "_".join([name, *(splits if len(splits) == 1 and name == "loss" else [])])
    return Chart(key, title, _logarithmic(name, lines), lines, window)


def _training(run: int, label: str, series: Series, limit: int, *, alone: bool) -> tuple[list[Line], int]:
    """A line as it was logged, or, where it is rough, faint behind its running mean; and the window of the mean.

    Args:
        alone: leave the faint line out.
    """
    raw = series.values
    window = max(5, len(raw) // 20)
    if len(raw) < 60 or not _rough(raw):
        return [_line(run, label, "line", series, raw, limit)], 0
    averaged = smooth(raw, window)
    lines = [] if alone else [_line(run, label, "raw", series, raw, limit)]
    return [*lines, _line(run, label, "line", series, averaged, limit)], window


def _evaluations(run: int, label: str, series: Series, limit: int, best_step: int | None) -> Line:
    kept = thin(series.values, limit)
    if best_step is not None and len(series) > 1 and best_step in series.steps:
        kept = sorted({*kept, series.steps.index(best_step)})
    line = _pick(run, label, "marked", series, series.values, kept)
    steps = line.xs["step"]
    best = steps.index(best_step) if best_step in steps and len(series) > 1 else None
    return Line(run, label, "marked", line.xs, line.ys, best)


def _line(run: int, label: str, style: str, series: Series, values: Sequence[float], limit: int) -> Line:
    return _pick(run, label, style, series, values, thin(values, limit))


def _pick(run: int, label: str, style: str, series: Series, values: Sequence[float], kept: list[int]) -> Line:
    columns = {"step": series.steps, "epoch": series.epochs, "seconds": series.seconds}
    xs = {kind: [column[index] for index in kept] for kind, column in columns.items()}
    return Line(run, label, style, xs, [values[index] for index in kept])


def thin(values: Sequence[float], limit: int) -> list[int]:
    """The indices of at most about `limit` points: of equal stretches the smallest and the largest value, and the ends.

    A stretch with a value that is not finite keeps one of these, so that the line stays broken there.
    """
    count = len(values)
    if count <= limit:
        return list(range(count))
    stretches = max(1, (limit - 2) // 2)
    kept = {0, count - 1}
    for number in range(stretches):
        indices = range(number * count // stretches, (number + 1) * count // stretches)
        finite = [index for index in indices if values[index] == values[index]]
        if len(finite) < len(indices):
            kept.add(next(index for index in indices if values[index] != values[index]))
        if finite:
            kept |= {min(finite, key=values.__getitem__), max(finite, key=values.__getitem__)}
    return sorted(kept)


def smooth(values: Sequence[float], window: int) -> list[float]:
    """The mean of all values so far, their weights falling by 1 - 1/window from each to the one before.

    What is not finite stays so, and counts nothing.
    """
    decay = 1 - 1 / window
    total = weight = 0.0
    found = []
    for value in values:
        if value == value:
            total, weight = decay * total + value, decay * weight + 1
        found.append(total / weight if value == value else math.nan)
    return found


def _rough(values: Sequence[float]) -> bool:
    known = [value for value in values if value == value]
    if len(known) < 2:
        return False
    way = sum(abs(after - before) for before, after in pairwise(known))
    return way > ROUGH * (max(known) - min(known))


def _logarithmic(name: str, lines: Sequence[Line]) -> bool:
    """Whether the values span orders of magnitude; shares and scores, of which more is better, stay linear."""
    known = [value for line in lines for value in line.ys if value == value]
    score = name in METRICS and METRICS.describe(name).higher_is_better
    return bool(known) and not score and min(known) > 0 and max(known) / min(known) >= WIDE

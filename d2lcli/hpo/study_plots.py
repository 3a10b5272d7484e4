"""Plots of a study, as PNG files: incumbents over time, parallel coordinates, importances."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from d2lcli.hpo import results
from d2lcli.hpo.importance import importances
from d2lcli.hpo.space import Choice, Dimension
from d2lcli.hpo.study import Study
from d2lcli.training.figures import new_figure


def draw_study(study: Study) -> list[Path]:
    """Draw what there is to draw into the study's folder; the paths.

    Raises:
        D2LError: matplotlib is not installed.
    """
    folder = study.folder / "plots"
    figures = {
        "incumbents.png": _incumbents(study),
        "parallel_coordinates.png": _parallel_coordinates(study),
        "importances.png": _importances(study),
    }
    paths = []
    for name, figure in figures.items():
        if figure is not None:
            folder.mkdir(parents=True, exist_ok=True)
            figure.savefig(folder / name, format="png", dpi=150)
            paths.append(folder / name)
    return paths


def _incumbents(study: Study) -> Any:
    """Every report as a point, and the best value so far as a line."""
    sign, begun = study.spec.sign, study.events[0].time if study.events else 0.0
    reports = [event for event in study.events if event.kind == "report" and event.value is not None]
    if not reports:
        return None
    figure = new_figure()
    axes = figure.add_subplot(xlabel="seconds", ylabel=study.spec.metric)
    for rung, level in enumerate(study.search.levels):
        points = [(event.time - begun, sign * (event.value or 0.0)) for event in reports if event.rung == rung]
        if points:
            axes.plot(*zip(*points), ".", alpha=0.6, label=f"{level:g} {study.spec.resource}")
    steps = [(time, sign * (event.value or 0.0)) for time, event in results.incumbents(study)]
    steps.append((reports[-1].time - begun, steps[-1][1]))
    axes.step(*zip(*steps), where="post", color="black", label="best so far")
    axes.legend()
    return figure


def _parallel_coordinates(study: Study) -> Any:
    """A line through the values of each trial, in the color of its last result; the best on top."""
    space = study.spec.dimensions
    trials = [trial for trial in study.trials if trial.values]
    if not trials:
        return None
    last = {trial.number: study.spec.sign * trial.values[max(trial.values)] for trial in trials}
    figure = new_figure(width=max(6, 1.6 * (len(space) + 1)))
    axes = figure.add_subplot()
    low, high = min(last.values()), max(last.values())
    from matplotlib import colormaps
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    norm, shades = Normalize(low, high), colormaps["viridis" if study.spec.mode == "max" else "viridis_r"]
    order = sorted(trials, key=lambda trial: -study.spec.sign * last[trial.number])
    for trial in order:
        heights = [_height(dimension, trial.config[key]) for key, dimension in space.items()]
        axes.plot(range(len(space)), heights, color=shades(norm(last[trial.number])), alpha=0.7)
    axes.set_xticks(range(len(space)), list(space))
    axes.set_yticks([])
    for place, dimension in enumerate(space.values()):
        axes.axvline(place, color="gray", linewidth=0.5)
        for text, height in _marks(dimension):
            axes.annotate(text, (place, height), xytext=(3, 0), textcoords="offset points", fontsize=7, va="center")
    figure.colorbar(ScalarMappable(norm, shades), ax=axes, label=f"{study.spec.metric}, last")
    return figure


def _importances(study: Study) -> Any:
    """Bars."""
    found = importances(study.spec.dimensions, study.trials)
    if not found:
        return None
    figure = new_figure(height=1 + 0.4 * len(found))
    axes = figure.add_subplot(xlabel="share of what sets the best trials apart", xlim=(0, 1))
    axes.barh(list(found)[::-1], list(found.values())[::-1])
    return figure


def _height(dimension: Dimension, value: Any) -> float:
    """From 0 to 1."""
    if isinstance(dimension, Choice):
        index = next(index for index, each in enumerate(dimension.values) if repr(each) == repr(value))
        return index / max(1, len(dimension.values) - 1)
    if dimension.log:
        return (math.log(value) - math.log(dimension.low)) / (math.log(dimension.high) - math.log(dimension.low))
    return float((value - dimension.low) / (dimension.high - dimension.low))


def _marks(dimension: Dimension) -> Sequence[tuple[str, float]]:
    """Texts and their heights: choices, or the ends."""
    if isinstance(dimension, Choice):
        return [(str(value)[:20], _height(dimension, value)) for value in dimension.values[:30]]
    return [(f"{dimension.low:g}", 0.0), (f"{dimension.high:g}", 1.0)]

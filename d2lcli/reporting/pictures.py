"""The curves of a report as PNG files, by matplotlib, which is an extra and is loaded when something is drawn."""

import re
from collections.abc import Sequence
from pathlib import Path

from d2lcli.reporting.curves import Chart
from d2lcli.reporting.read import RunData
from d2lcli.training.figures import new_figure

# Okabe and Ito's colours, which people with any colour vision can tell apart; as in style.css.
HUES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#4b5259")
DASHES = ("-", "--", ":")
LEGEND = 12  # so many lines are named


def draw_charts(charts: Sequence[Chart], runs: Sequence[RunData], folder: Path) -> list[Path]:
    """Draw each chart over the steps into a file of its own; their paths.

    Raises:
        D2LError: matplotlib is not installed.
    """
    paths = []
    for number, chart in enumerate(charts):
        if not any(value == value for line in chart.lines for value in line.ys):
            continue
        figure = new_figure(6, 3.8)
        axes = figure.add_subplot(xlabel="step", title=_plain(chart.title))
        if chart.log:
            axes.set_yscale("log")
        named = 0
        for line in chart.lines:
            dash = DASHES[line.run // len(HUES) % len(DASHES)]
            look = {"color": HUES[line.run % len(HUES)], "linestyle": dash, "linewidth": 1.4}
            if line.style == "raw":
                look |= {"alpha": 0.3, "linewidth": 0.7}
            elif line.style == "marked" or len(line.ys) == 1:
                look |= {"marker": ".", "markersize": 4 if len(line.ys) <= 60 else 0}
            named += line.style != "raw"
            label = _plain(line.label) if line.style != "raw" and named <= LEGEND else None
            axes.plot(line.xs["step"], line.ys, label=label, **look)
        axes.grid(alpha=0.3)
        if named > 1:
            axes.legend(fontsize=8, frameon=False)
        folder.mkdir(parents=True, exist_ok=True)
        paths.append(folder / f"{number:02d}-{re.sub(r'[^A-Za-z0-9_]+', '_', chart.key)[:60]}.png")
        figure.savefig(paths[-1], format="png", dpi=150)
    return paths


def _plain(text: str) -> str:
    """Text that matplotlib takes as it is: a dollar would begin mathematics, an underscore hide a label."""
    shown = "".join(char if char.isprintable() else "?" for char in text[:60]).replace("$", r"\$")
    return f" {shown}" if shown.startswith("_") else shown

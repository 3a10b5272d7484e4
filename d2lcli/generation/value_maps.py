"""Maps of what each cell of a small world is worth, and of where a policy goes from it."""

import math
from pathlib import Path
from typing import Any

from d2lcli.data.grid import Grid
from d2lcli.generation.episodes import Agent
from d2lcli.training.figures import new_figure

ARROWS = {"left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1)}
ACROSS = 4  # maps side by side
FEW = 20  # cells of a side up to which values are written into them


def plot_values(agent: Agent, grid: Grid, path: Path) -> Path:
    """Draw V as colours, and the policy as arrows as long as the actions are probable, into a PNG file.

    Actions that lead nowhere are written by their first letters.

    Raises:
        D2LError: matplotlib is not installed.
    """
    count, rows, columns = len(grid.panels), len(grid.letters), len(grid.letters[0])
    across = min(ACROSS, count)
    down = math.ceil(count / across)
    figure = new_figure(across * max(2.4, 0.7 * columns) + 1, down * max(2.4, 0.7 * rows + 0.3))
    final = agent.environment.final
    values = agent.values.masked_fill(final, 0.0)
    low, high = float(values.min()), float(values.max())
    for number, (title, cells) in enumerate(grid.panels):
        axes = figure.add_subplot(down, across, number + 1, title=title)
        axes.title.set_fontsize(8)
        shown = [[float(values[state]) for state in row] for row in cells]
        image = axes.imshow(shown, cmap="viridis", vmin=low, vmax=high)
        axes.set_xticks([])
        axes.set_yticks([])
        for row, states in enumerate(cells):
            for column, state in enumerate(states):
                _draw_cell(axes, agent, grid.letters[row][column], row, column, state, bool(final[state]))
        for row, column in grid.walls:
            axes.plot([column + 0.5] * 2, [row - 0.5, row + 0.5], color="black", linewidth=3)
    figure.colorbar(image, ax=figure.axes, label=f"V, gamma = {agent.gamma:g}", shrink=0.8)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, format="png", dpi=110)
    return path


def _draw_cell(axes: Any, agent: Agent, letter: str, row: int, column: int, state: int, final: bool) -> None:
    """The letter of a cell, its value, and what the policy does there."""
    ink = {"color": "white", "fontsize": 7, "path_effects": _outline()}
    axes.text(column - 0.42, row - 0.28, letter.strip("."), **ink)
    if final:
        return
    if len(agent.environment.grid.letters) <= FEW and len(agent.environment.grid.panels) == 1:
        axes.text(column, row + 0.42, f"{float(agent.values[state]):.3g}", ha="center", **ink)
    for action, share in zip(agent.environment.actions, agent.policy[state].tolist()):
        if share <= 0:
            continue
        if action in ARROWS:
            right, below = (0.32 * share * part for part in ARROWS[action])
            axes.annotate(
                "", (column + right, row + below), (column - right * 0.6, row - below * 0.6),
                arrowprops={"arrowstyle": "->", "color": "white", "path_effects": _outline()},
            )  # fmt: skip
        else:
            axes.text(column, row + 0.1, action[:4], ha="center", **ink)


def _outline() -> list[Any]:
    """White on any colour can be read with a dark border."""
    from matplotlib.patheffects import withStroke

    return [withStroke(linewidth=2, foreground="#222222")]

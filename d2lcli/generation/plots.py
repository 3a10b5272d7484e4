"""Pictures of what a translation looked at, and of functions with their error bars."""

from collections.abc import Sequence
from pathlib import Path

from d2lcli.generation.functions import Drawn
from d2lcli.training.figures import new_figure


def plot_attention(
    source: Sequence[str], target: Sequence[str], weights: Sequence[Sequence[float]], path: Path
) -> Path:
    """Draw the weights (target tokens, source tokens) as a heat map into a PNG file.

    Raises:
        D2LError: matplotlib is not installed.
    """
    figure = new_figure(1.5 + 0.5 * len(source), 1.2 + 0.4 * len(target))
    axes = figure.add_subplot(xlabel="source", ylabel="target")
    image = axes.imshow(weights, cmap="viridis", vmin=0, aspect="auto")
    axes.set_xticks(range(len(source)), source, rotation=45, ha="right")
    axes.set_yticks(range(len(target)), target)
    figure.colorbar(image, ax=axes)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, format="png", dpi=150)
    return path


def plot_functions(drawn: Drawn, title: str, path: Path) -> Path:
    """Draw functions, their mean, the data and two bands, of the function and of observations, into a PNG file.

    Raises:
        D2LError: matplotlib is not installed.
    """
    figure = new_figure(8, 5)
    axes = figure.add_subplot(xlabel=f"feature {drawn.feature}", ylabel="y", title=title)
    bands = {"observation": drawn.observed_variance, "function": drawn.variance}
    for (name, variances), shade in zip(bands.items(), (0.15, 0.3)):
        reach = [drawn.width * variance**0.5 for variance in variances]
        low, high = ([m + sign * r for m, r in zip(drawn.mean, reach)] for sign in (-1, 1))
        axes.fill_between(
            drawn.x, low, high, color="C0", alpha=shade, linewidth=0, label=f"{name} +- {drawn.width:g} sd"
        )
    for values in drawn.samples:
        axes.plot(drawn.x, values, linewidth=0.8)
    axes.plot(drawn.x, drawn.mean, color="black", label="mean")
    if drawn.data:
        axes.plot(*zip(*drawn.data), "k.", markersize=4, label="data")
    axes.legend()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, format="png", dpi=120)
    return path

"""Pictures of what a translation looked at."""

from collections.abc import Sequence
from pathlib import Path

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

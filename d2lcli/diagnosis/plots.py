"""A diagnosis as a picture: gradients, activations, spectra and steps by layer."""

from pathlib import Path
from typing import Any

from d2lcli.diagnosis.report import Diagnosis
from d2lcli.training.figures import new_figure


def plot_diagnosis(found: Diagnosis, path: Path) -> Path:
    """Draw into a PNG file; its folder is made.

    Raises:
        D2LError: matplotlib is not installed.
    """
    figure = new_figure(10, 7)
    axes = figure.subplots(2, 2)
    layers = [layer for layer in found.layers if layer.weight_gradient is not None]
    names = [layer.name for layer in layers]
    _bars(axes[0][0], names, {"gradient by outputs": [layer.gradient for layer in layers]}, "gradients")
    _bars(axes[0][1], names, {"standard deviation": [layer.std for layer in layers]}, "outputs")
    matrices = [weight for weight in found.weights if weight.largest is not None and weight.smallest is not None]
    values = {
        "largest": [weight.largest or 0 for weight in matrices],
        "smallest": [weight.smallest or 0 for weight in matrices],
    }
    _bars(axes[1][0], [weight.name for weight in matrices], values, "singular values")
    stepped = [weight for weight in matrices if weight.step is not None]
    steps = {"update / weight": [weight.step or 0 for weight in stepped]}
    _bars(axes[1][1], [weight.name for weight in stepped], steps, "next step")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, format="png", dpi=120)
    return path


def _bars(axes: Any, names: list[str], series: dict[str, list[float]], title: str) -> None:
    """Points by layer on a logarithmic axis where all are above 0."""
    for label, values in series.items():
        axes.plot(range(len(values)), values, marker="o", label=label)
    if all(value > 0 for values in series.values() for value in values) and names:
        axes.set_yscale("log")
    short = [name if len(name) <= 18 else f"...{name[-15:]}" for name in names]
    spread = max(1, len(names) // 12)
    axes.set_xticks(range(0, len(names), spread), short[::spread], rotation=60, ha="right", fontsize=7)
    axes.set_title(title, fontsize=10)
    axes.legend(fontsize=8)
    axes.grid(alpha=0.3)

"""Plots of searches, as PNG files.  They need matplotlib, which is an extra and is loaded when something is drawn."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from d2lcli.hpo.error_distribution import ErrorDistribution
from d2lcli.hpo.scaling_law import PowerLaw
from d2lcli.training.figures import new_figure


def plot_error_distributions(errors: Mapping[str, Sequence[float]], path: Path) -> Path:
    """Draw the empirical error distribution of several samples into one picture.

    Args:
        errors: those of each sample's networks, by the name that stands in the legend.
        path: of the PNG file; its folder is made.

    Returns:
        `path`.

    Raises:
        D2LError: matplotlib is not installed.
        ValueError: there is no sample, or one without errors.
    """
    if not errors:
        raise ValueError("a plot of error distributions needs at least one sample")
    samples = {name: ErrorDistribution(values) for name, values in errors.items()}
    figure = new_figure()
    axes = figure.add_subplot(xlabel="error", ylabel="share of networks with at most this error", ylim=(0, 1.02))
    ends = [end for sample in samples.values() for end in (sample.errors[0], sample.errors[-1])]
    margin = 0.03 * (max(ends) - min(ends)) or 0.01
    for name, sample in samples.items():
        places, shares = sample.steps()
        # From 0 at the left margin to 1 at the right one: the curves of all samples have the same width.
        x, y = [min(ends) - margin, *places, max(ends) + margin], [0.0, *shares, 1.0]
        axes.step(x, y, where="post", label=f"{name} (n = {len(sample.errors)}, best {sample.errors[0]:.3f})")
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right")
    return _save(figure, path)


def plot_scaling_law(
    sizes: Sequence[float], losses: Sequence[float], laws: Sequence[PowerLaw], path: Path, *, size_name: str = "size"
) -> Path:
    """Draw losses over sizes, both logarithmic, with the laws that were fitted to them.

    Args:
        sizes: N of each point.
        losses: L.
        laws: a curve each; its exponent stands in the legend.
        path: of the PNG file; its folder is made.
        size_name: what the sizes are.

    Returns:
        `path`.

    Raises:
        D2LError: matplotlib is not installed.
        ValueError: there is no point.
    """
    if not sizes:
        raise ValueError("a plot of a scaling law needs at least one point")
    figure = new_figure()
    axes = figure.add_subplot(xlabel=size_name, ylabel="loss", xscale="log", yscale="log")
    axes.plot(sizes, losses, "o", color="black", label="trained", zorder=3)
    low, high = min(sizes) / 1.5, max(sizes) * 1.5
    x = [low * (high / low) ** (i / 100) for i in range(101)]
    for law in laws:
        above = f"{law.irreducible:.3g} + " if law.irreducible else ""
        label = f"L(N) = {above}({law.scale:.3g} / N)^{law.exponent:.3f}"
        axes.plot(x, [law.at(size) for size in x], label=label)
    # Losses often lie within a factor of two of each other, where matplotlib would write 3 x 10^0.
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter("{x:g}")
    axes.grid(alpha=0.3, which="both")
    axes.legend()
    return _save(figure, path)


def _save(figure: Any, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, format="png", dpi=150)
    return path

"""Plots of searches, as PNG files.  They need matplotlib, which is an extra and is loaded when something is drawn."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from d2lcli.hpo.error_distribution import ErrorDistribution
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
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, format="png", dpi=150)
    return path

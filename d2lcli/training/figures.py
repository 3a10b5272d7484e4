"""Pictures need matplotlib, which is an extra and is loaded when something is drawn."""

from typing import Any

from d2lcli.errors import D2LError


def new_figure(width: float = 6, height: float = 4) -> Any:
    """An empty figure (matplotlib's, not pyplot's: nothing global, no display), in inches.

    Raises:
        D2LError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise D2LError("matplotlib is not installed: no plot", "pip install 'd2lcli[plot]'") from error
    return Figure(figsize=(width, height), layout="constrained")

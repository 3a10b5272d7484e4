"""What a person sees while a model trains: a live line on a terminal, plain lines anywhere else.  All on stderr."""

import sys
import time
from typing import Any

PLAIN_EVERY = 10.0  # seconds between plain lines within an epoch
LIVE_EVERY = 0.2  # seconds between redraws of the live line


def clock(seconds: float) -> str:
    """Seconds as h:mm:ss or m:ss."""
    whole = int(seconds + 0.5)
    hours, rest = divmod(whole, 3600)
    return f"{hours}:{rest // 60:02d}:{rest % 60:02d}" if hours else f"{rest // 60}:{rest % 60:02d}"


def numbers(values: dict[str, Any]) -> str:
    """`loss 0.412  accuracy 0.861`"""
    return "  ".join(f"{name} {value:.4g}" for name, value in values.items() if isinstance(value, (int, float)))


class Progress:
    """Plain lines: one for each evaluation, and one every ten seconds between.

    Args:
        total: updates of the whole run.
        step: updates done before this process.
    """

    every = PLAIN_EVERY

    def __init__(self, total: int, step: int = 0) -> None:
        self.total = total
        self._start, self._first = time.perf_counter(), step

    def say(self, line: str) -> None:
        """One line that stays.  A terminal that went away does not end a training."""
        try:
            print(line, file=sys.stderr, flush=True)
        except OSError:
            pass

    def tick(self, step: int, values: dict[str, Any], rate: float) -> None:
        """Show where the run is.

        Args:
            step: updates done.
            values: loss and the latest metric.
            rate: examples per second.
        """
        self.say(self._line(step, values, rate))

    def close(self) -> None:
        """Take the live line away."""

    def _line(self, step: int, values: dict[str, Any], rate: float) -> str:
        return f"step {step}/{self.total}  {numbers(values)}  {rate:,.0f} examples/s  ETA {self._eta(step)}"

    def _eta(self, step: int) -> str:
        done = step - self._first
        spent = time.perf_counter() - self._start
        return clock(spent / done * (self.total - step)) if done > 0 else "?"


class Quiet(Progress):
    """Nothing at all: for the processes beside the first one, and for callers from Python that want none."""

    every = float("inf")

    def say(self, line: str) -> None:
        """Nothing."""

    def tick(self, step: int, values: dict[str, Any], rate: float) -> None:
        """Nothing."""


class Live(Progress):
    """A progress bar that is redrawn in place, with the same lines as the plain form above it."""

    every = LIVE_EVERY

    def __init__(self, total: int, step: int = 0) -> None:
        super().__init__(total, step)
        from rich.console import Console
        from rich.progress import BarColumn, TextColumn
        from rich.progress import Progress as Bar

        self._console = Console(stderr=True, markup=False, highlight=False)
        self._bar = Bar(
            BarColumn(bar_width=24),
            TextColumn("{task.description}", markup=False),
            console=self._console,
            auto_refresh=False,
            transient=True,
        )
        self._task = self._bar.add_task("starting", total=total, completed=step)
        self._bar.start()

    def say(self, line: str) -> None:
        """One line above the bar."""
        self._console.print(line, soft_wrap=True)

    def tick(self, step: int, values: dict[str, Any], rate: float) -> None:
        """Redraw the bar."""
        self._bar.update(self._task, completed=step, description=self._line(step, values, rate))
        self._bar.refresh()

    def close(self) -> None:
        """Take the bar away."""
        self._bar.stop()


def make_progress(total: int, step: int, *, quiet: bool = False) -> Progress:
    """The form that fits where stderr goes."""
    if quiet:
        return Quiet(total, step)
    try:
        terminal = sys.stderr.isatty()
    except (AttributeError, ValueError):
        terminal = False
    return Live(total, step) if terminal else Progress(total, step)

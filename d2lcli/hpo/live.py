"""What a person sees while a study goes on: a live table on a terminal, plain lines anywhere else.  All on stderr."""

import sys
import time
from collections.abc import Sequence
from typing import Any

from d2lcli.errors import clean
from d2lcli.hpo import results
from d2lcli.hpo.events import Event
from d2lcli.hpo.study import Study
from d2lcli.training.progress import clock

REDRAW = 0.5  # seconds
SHOWN = 8  # running trials in the table


class Plain:
    """A line for each result."""

    def __init__(self) -> None:
        self.least = float("inf")

    def say(self, line: str) -> None:
        """One line.  A terminal that went away does not end a search."""
        try:
            print(line, file=sys.stderr, flush=True)
        except OSError:
            pass

    def show(self, study: Study, events: Sequence[Event]) -> None:
        """Tell of new events."""
        for event in events:
            if line := self.line(study, event):
                self.say(line)

    def close(self) -> None:
        """Take the table away."""

    def line(self, study: Study, event: Event) -> str:
        """What there is to say of an event; nothing of a start."""
        spec = study.spec
        if event.kind == "report" and event.value is not None:
            better = event.value < self.least
            self.least = min(event.value, self.least)
            mark = "  best so far" if better else ""
            value = f"{spec.metric} {spec.sign * event.value:.4g}"
            return f"trial {event.trial:<4} {event.resource:>6g} {spec.resource}  {value}  {_words(study, event)}{mark}"
        if event.kind == "fail":
            return f"trial {event.trial:<4} failed: {clean(event.reason, 160)}"
        if event.kind == "release":
            return f"trial {event.trial:<4} given back: {clean(event.reason, 100)}"
        return ""


class Live(Plain):
    """The same lines above a table of rungs and running trials, which is redrawn in place."""

    def __init__(self) -> None:
        super().__init__()
        from rich.console import Console
        from rich.live import Live as Display

        self._console = Console(stderr=True, markup=False, highlight=False)
        self._display = Display(console=self._console, auto_refresh=False, transient=True)
        self._display.start()
        self._drawn = 0.0

    def say(self, line: str) -> None:
        """One line above the table."""
        self._console.print(line, soft_wrap=True)

    def show(self, study: Study, events: Sequence[Event]) -> None:
        """Tell of new events, and redraw."""
        super().show(study, events)
        now = time.monotonic()
        if now - self._drawn > REDRAW:
            self._drawn = now
            self._display.update(_table(study), refresh=True)

    def close(self) -> None:
        """Take the table away."""
        self._display.stop()


def make_live() -> Plain:
    """The form that fits where stderr goes."""
    try:
        terminal = sys.stderr.isatty()
    except (AttributeError, ValueError):
        terminal = False
    return Live() if terminal else Plain()


def _table(study: Study) -> Any:
    """Rungs on the left, running trials on the right, the incumbent below."""
    from rich.table import Table

    spec, whole = study.spec, Table.grid(padding=(0, 3))
    left = Table(title=f"rungs ({spec.resource})", title_justify="left", box=None)
    for header in (spec.resource, "trials", "running", f"best {spec.metric}"):
        left.add_column(header, justify="right")
    for row in results.rungs(study):
        value = "-" if row["best"] is None else f"{row['best']:.4g}"
        left.add_row(f"{row['resource']:g}", str(row["trials"]), str(row["running"] or ""), value)
    right = Table(title="running", title_justify="left", box=None)
    for header in ("trial", "to", "for", "values"):
        right.add_column(header, no_wrap=True, overflow="ellipsis")
    for start in list(study.running.values())[:SHOWN]:
        spent = clock(time.time() - start.time)
        right.add_row(str(start.trial), f"{start.resource:g}", spent, _words(study, start))
    whole.add_row(left, right)
    states = results.count(study)
    spent = clock(time.time() - study.events[0].time) if study.events else "0:00"
    words = ", ".join(f"{number} {state}" for state, number in states.items() if number)
    whole.caption = f"{spent}  {words}"
    whole.caption_justify = "left"
    return whole


def _words(study: Study, event: Event) -> str:
    """The values of a trial, short."""
    config = study.trials[event.trial].config
    return clean("  ".join(f"{key} {_short(value)}" for key, value in config.items()), 120)


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)

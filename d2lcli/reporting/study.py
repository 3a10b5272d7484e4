"""A study of `d2l hpo` as plain data: its trials, and how its best value came about."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from d2lcli.reporting.values import mapping, number, sequence
from d2lcli.training.runfolder import read_json


@dataclass
class Trial:
    """One trial.

    Attributes:
        number: from 0 on.
        config: its values.
        values: the metric by the resource that it had had; in the order of the reports.
        state: finished, resting, failed or running, as far as the log goes.
        reason: why it failed.
        seconds: that workers spent on it.
    """

    number: int
    config: dict[str, Any] = field(default_factory=dict)
    values: dict[float, float] = field(default_factory=dict)
    state: str = "resting"
    reason: str = ""
    seconds: float = 0.0


@dataclass(frozen=True)
class Study:
    """What a report says of a search; `trials` are in the order of their numbers."""

    path: Path
    result: dict[str, Any]
    trials: list[Trial]
    notes: list[str]

    @property
    def sign(self) -> float:
        """What a value is multiplied by so that smaller is better."""
        return -1.0 if self.result.get("mode") == "max" else 1.0

    @property
    def ranked(self) -> list[Trial]:
        """The trials, the best value first; those without one at the end."""
        return sorted(
            self.trials,
            key=lambda trial: (not trial.values, min(self.sign * value for value in trial.values.values() or [0.0])),
        )

    def run_folder(self, trial: Trial) -> Path:
        """Where a trial's run is."""
        return self.path / "trials" / f"{trial.number:04d}"

    @property
    def incumbents(self) -> list[tuple[float, float]]:
        """Seconds since the beginning, and value, of every report that was better than all before it."""
        rows = [mapping(row) for row in sequence(self.result.get("incumbents"))]
        found = [(number(row.get("seconds")), number(row.get("value"))) for row in rows]
        return [(seconds, value) for seconds, value in found if seconds is not None and value is not None]


def is_study(path: Path) -> bool:
    """Whether a folder is that of a study."""
    return not (path / "config.yaml").exists() and ((path / "study.db").exists() or (path / "trials").is_dir())


def read_study(path: Path) -> Study:
    """Read a study's folder, also where its search has not ended: then its trials are known by their folders alone."""
    result = read_json(path / "result.json") or {}
    notes = [] if result else ["the search has not ended: its trials are read from their folders, without a table"]
    trials: dict[int, Trial] = {}
    sign = -1.0 if result.get("mode") == "max" else 1.0
    begun: dict[int, float] = {}
    broken = 0
    for event in _events(path / "events.jsonl"):
        try:
            _take(trials, begun, event, sign)
        except (KeyError, TypeError, ValueError, AttributeError):
            broken += 1
    if broken:
        notes.append(f"{broken:,} lines of events.jsonl are no events and are left out")
    most = max((max(trial.values) for trial in trials.values() if trial.values), default=0.0)
    for trial in trials.values():
        if trial.state == "resting" and most in trial.values:
            trial.state = "finished"
    for folder in sorted((path / "trials").glob("[0-9]*")):
        if folder.name.isdigit() and (folder / "config.yaml").exists():
            trials.setdefault(int(folder.name), Trial(int(folder.name), state=""))
    return Study(path, result, [trials[number] for number in sorted(trials)], notes)


def _events(path: Path) -> Iterator[Any]:
    if path.is_symlink() or not path.is_file():
        return
    with path.open("rb") as file:
        for line in file:
            try:
                yield json.loads(line)
            except (ValueError, RecursionError):
                yield None


def _take(trials: dict[int, Trial], begun: dict[int, float], event: Any, sign: float) -> None:
    """Fold in one event; `value` is stored so that smaller is better."""
    index, kind, time = event["trial"], event["kind"], number(event["time"])
    if type(index) is not int or not 0 <= index < 1e9 or time is None:
        raise ValueError("no event")
    trial = trials.setdefault(index, Trial(index))
    if kind == "start":
        trial.config = dict(event["config"] or trial.config)
        trial.state, begun[index] = "running", time
        return
    trial.seconds += time - begun.pop(index, time)
    trial.state = "failed" if kind == "fail" else "resting"
    trial.reason = str(event.get("reason") or "") if kind == "fail" else ""
    value, resource = number(event.get("value")), number(event.get("resource"))
    if kind == "report" and value is not None and resource is not None:
        trial.values[resource] = sign * value

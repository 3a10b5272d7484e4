"""A run folder as plain data, whatever state it is in.  Imports no torch."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from d2lcli.config.yaml_text import load_yaml
from d2lcli.errors import ConfigError
from d2lcli.registry import METRICS
from d2lcli.reporting.log import Log, Series, read_log
from d2lcli.reporting.values import mapping, number, sequence, whole
from d2lcli.training.runfolder import RunFolder, read_json


@dataclass(frozen=True)
class Best:
    """The best value of the monitored metric and the step where it was reached, None where it is not known."""

    value: float
    step: int | None


@dataclass(frozen=True)
class RunData:
    """What a report says of a run.

    Attributes:
        path: the folder.
        name: short, and different from those of the other runs of the report.
        config: the values of config.yaml; empty where it cannot be read.
        config_text: config.yaml as it stands there.
        meta, result: of meta.json and result.json; empty where they cannot be read.
        log: the rows of metrics.jsonl.
        documents: other JSON files of the folder by name, such as `d2l diagnose RUN --json` leaves.
        running: whether a process of this machine holds the folder.
        notes: what could not be read.
    """

    path: Path
    name: str
    config: dict[str, Any]
    config_text: str
    meta: dict[str, Any]
    result: dict[str, Any]
    log: Log
    documents: dict[str, dict[str, Any]] = field(default_factory=dict)
    running: bool = False
    notes: list[str] = field(default_factory=list)

    @property
    def status(self) -> str:
        """As result.json has it; running while a process holds the folder; else unfinished."""
        if self.running:
            return "running"
        steps = whole(self.result.get("steps"))
        later = steps is not None and self.log.last_step > steps
        return "unfinished" if later else str(self.result.get("status") or "unfinished")

    @property
    def settled(self) -> bool:
        """Whether result.json speaks of the rows that are there: not of a run that was taken up again."""
        steps = whole(self.result.get("steps"))
        return bool(self.result.get("best")) and not self.running and self.log.last_step <= (steps or 0)

    @property
    def steps(self) -> int:
        """Updates done."""
        steps = whole(self.result.get("steps"))
        return steps if self.settled and steps is not None else self.log.last_step

    def option(self, *keys: str) -> Any:
        """A value of the config, None where it has none."""
        value: Any = self.config
        for key in keys:
            value = value.get(key) if isinstance(value, dict) else None
        return value

    @property
    def monitor(self) -> str:
        """The validation value that decides which checkpoint is best."""
        known = [name for name in mapping(self.result.get("best")) if name != "step"]
        wanted = [*known, self.option("monitor")]
        wanted += [_metric_name(each) for each in sequence(self.option("task", "metrics"))]
        return next((name for name in wanted if isinstance(name, str) and self.validation(name)), "loss")

    @property
    def higher_is_better(self) -> bool:
        """The direction of the monitored value: of the registered metric, or told by what result.json calls best."""
        if self.monitor in METRICS:
            return METRICS.describe(self.monitor).higher_is_better
        best, series = number(mapping(self.result.get("best")).get(self.monitor)), self.validation(self.monitor)
        if self.monitor == "loss" or not series or best is None:
            return False
        known = [value for value in series.values if value == value]
        return bool(known) and abs(best - max(known)) < abs(best - min(known))

    def validation(self, name: str) -> Series | None:
        """The values of a metric over the evaluations."""
        return self.log.series.get(("val", name))

    @property
    def best(self) -> Best | None:
        """The best value so far; by result.json where it speaks of all rows, else by the rows."""
        found = mapping(self.result.get("best"))
        value = number(found.get(self.monitor))
        if self.settled and value is not None:
            return Best(value, whole(found.get("step")))
        series = self.validation(self.monitor)
        known = (
            [(value, int(step)) for value, step in zip(series.values, series.steps) if value == value] if series else []
        )
        if not known:
            return None
        sign = 1 if self.higher_is_better else -1
        return Best(*max(known, key=lambda each: (sign * each[0], -each[1])))

    @property
    def last(self) -> float | str | None:
        """The newest value of the monitored metric."""
        value = mapping(self.result.get("metrics")).get(self.monitor)
        if self.settled and (isinstance(value, str) or number(value) is not None):
            return value
        series = self.validation(self.monitor)
        return None if not series else series.values[-1]


def read_run(path: Path, name: str) -> RunData:
    """Read a run folder.

    Raises:
        CheckpointError: there is no run.
    """
    folder, notes = RunFolder(path), []
    folder.require()
    config, config_text = {}, ""
    try:
        config = load_yaml(path / "config.yaml")
        config_text = (path / "config.yaml").read_text("utf-8", "replace")
    except ConfigError as error:
        notes.append("; ".join(error.lines))
    meta, result = folder.read_meta(), folder.read_result()
    for file, content in (("meta.json", meta), ("result.json", result)):
        if not content and (path / file).exists():
            notes.append(f"{file} cannot be read")
    log = read_log(path / "metrics.jsonl")
    if log.broken:
        notes.append(f"{log.broken:,} lines of metrics.jsonl are no rows and are left out")
    known = {"meta.json", "result.json"}
    files = sorted(each for each in path.glob("*.json") if each.name not in known)
    documents = {each.name: document for each in files if (document := read_json(each))}
    return RunData(path, name, config, config_text, meta, result, log, documents, in_use(path), notes)


def in_use(path: Path) -> bool:
    """Whether a process of this machine holds a run's folder, by the kernel's list of locks.

    To try the lock would be surer, but could make a training that starts in that moment believe it is held.
    """
    try:
        inode = str((path / ".lock").stat().st_ino)
        locks = Path("/proc/locks").read_text()
    except OSError:
        return False
    held = (line.split() for line in locks.splitlines() if "FLOCK" in line and "WRITE" in line)
    return any(inode == word.rpartition(":")[2] for words in held for word in words if word.count(":") == 2)


def names_of(paths: list[Path]) -> list[str]:
    """The last parts of paths, as few as tell them apart."""
    whole = [Path(os.path.abspath(path)).parts for path in paths]
    for count in range(1, max(map(len, whole), default=1) + 1):
        names = ["/".join(parts[-count:]) for parts in whole]
        if len(set(names)) == len(names):
            break
    return names if whole else []


def _metric_name(node: Any) -> Any:
    return node.get("name") if isinstance(node, dict) else node

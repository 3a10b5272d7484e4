"""What a study has found: the best trial as a command, the incumbents over time, counts."""

import shlex
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from d2lcli.hpo.events import Event
from d2lcli.hpo.search import Trial
from d2lcli.hpo.study import Study
from d2lcli.hpo.trace import brackets_of, check_trace
from d2lcli.registry import SEARCHERS
from d2lcli.training.files import replace_file, to_json


def summarise(study: Study, status: str) -> dict[str, Any]:
    """The content of result.json.

    Args:
        study: read up to its newest event.
        status: done, time, or the name of a signal.
    """
    return {
        "study": study.folder.name,
        "run": str(study.folder),
        "status": status,
        "search": study.spec.search["name"],
        "metric": study.spec.metric,
        "mode": study.spec.mode,
        "resource": study.spec.resource,
        "rungs": rungs(study),
        "trials": count(study),
        "seconds": round(seconds(study), 3),
        "best": best(study),
        "incumbents": [
            {"seconds": round(time, 3), "trial": event.trial, "value": study.spec.sign * (event.value or 0.0)}
            for time, event in incumbents(study)
        ],
    }


def broken_rules(study: Study) -> list[str]:
    """What the log of a study has against the rules of its search, in words; nothing where all is right."""
    node, spec = study.spec.search, study.spec
    if not SEARCHERS.describe(node["name"]).schedules:
        return []
    levels = study.search.levels
    brackets = brackets_of(node, levels, spec.trials)
    # A run may end before its rung where it is timed, or where patience ends it.
    exact = spec.resource != "seconds" and not any(word.startswith("patience=") for word in spec.train)
    return check_trace(study.events, levels, node["eta"], brackets, exact=exact)


def write(study: Study, status: str) -> dict[str, Any]:
    """Write result.json, and events.jsonl with one line for each event; the content of the former."""
    result = summarise(study, status)
    lines = b"".join(to_json(asdict(event)).replace(b"\n", b"").strip() + b"\n" for event in study.events)
    replace_file(study.folder / "events.jsonl", lines)
    replace_file(study.folder / "result.json", to_json(result))
    return result


def seconds(study: Study) -> float:
    """From the first event to the last one."""
    return study.events[-1].time - study.events[0].time if study.events else 0.0


def count(study: Study) -> dict[str, int]:
    """How many trials there are of each state."""
    top = len(study.search.levels) - 1
    failed = sum(trial.failed for trial in study.trials)
    finished = sum(top in trial.values for trial in study.trials)
    running = len(study.running)
    total = len(study.trials)
    return {
        "total": total,
        "finished": finished,
        "failed": failed,
        "running": running,
        "resting": total - finished - failed - running,
    }


def rungs(study: Study) -> list[dict[str, Any]]:
    """Of each rung: its resource, how many trials have reached it, how many are on the way, and the best value."""
    rows = []
    for rung, level in enumerate(study.search.levels):
        values = [trial.values[rung] for trial in study.trials if rung in trial.values]
        rows.append(
            {
                "resource": level,
                "trials": len(values),
                "running": sum(start.rung == rung for start in study.running.values()),
                "best": study.spec.sign * min(values) if values else None,
            }
        )
    return rows


def best(study: Study) -> dict[str, Any] | None:
    """The best trial so far; None where no trial has a value."""
    found = study.best()
    if found is None:
        return None
    trial, rung = found
    return {
        "trial": trial.number,
        "value": study.spec.sign * trial.values[rung],
        "resource": study.search.levels[rung],
        "config": trial.config,
        "command": command(study, trial),
        "run": str(study.run_folder(trial.number)),
    }


def command(study: Study, trial: Trial) -> str:
    """`d2l train ...` for a shell: the trial's whole run."""
    return shlex.join(["d2l", "train", *study.spec.overrides(trial.number, trial.config)])


def incumbents(study: Study) -> Iterator[tuple[float, Event]]:
    """The reports that were better than all before them, and the seconds since the study began."""
    least = float("inf")
    for event in study.events:
        if event.kind == "report" and event.value is not None and event.value < least:
            least = event.value
            yield event.time - study.events[0].time, event

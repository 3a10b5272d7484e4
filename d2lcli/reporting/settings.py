"""How runs came about: what their configs differ in, whole configs, commands, versions, data with checksums."""

import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePath
from typing import Any

from d2lcli.reporting.markup import folded, lines, table, text
from d2lcli.reporting.read import RunData

MISSING = object()
MOST_COLUMNS = 8  # more runs than this stand below each other


def configs(runs: Sequence[RunData]) -> Iterator[str]:
    """What differs first, then each whole config, folded."""
    known = [run for run in runs if run.config]
    if len(known) > 1:
        yield _differences(known)
    for run in known:
        yield folded(f"{run.name}: config.yaml", f"<pre>{lines(run.config_text, 60_000)}</pre>")


def differing(values: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """The dotted keys whose values differ, with the values; those that all configs have first.

    A value is `MISSING` where a config has no such key.
    """
    flat = [dict(_leaves(each)) for each in values]
    keys = dict.fromkeys(key for each in flat for key in each)
    found = {key: [each.get(key, MISSING) for each in flat] for key in keys}
    kept = [(key, row) for key, row in found.items() if len({_exact(value) for value in row}) > 1]
    return dict(sorted(kept, key=lambda each: any(value is MISSING for value in each[1])))


def _differences(runs: Sequence[RunData]) -> str:
    found = differing([run.config for run in runs])
    if not found:
        return '<p class="note">The configs are the same.</p>'
    names = [text(run.name, 80) for run in runs]
    keys = {f"<code>{text(key, 120)}</code>": [_shown(value) for value in row] for key, row in found.items()}
    if len(runs) <= MOST_COLUMNS:
        made = table(["key", *names], ([key, *row] for key, row in keys.items()), "settings")
    else:
        made = table(["run", *keys], zip(names, *keys.values()), "settings")
    return f"<h3>What differs</h3>\n{made}"


def _leaves(values: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", value


def _exact(value: Any) -> str:
    """Text by which values are told apart: 1, 1.0, true and "1" are four."""
    return "" if value is MISSING else json.dumps(value, default=str)


def _shown(value: Any) -> str:
    if value is MISSING:
        return '<span class="dim" title="no such key">-</span>'
    return text(value if isinstance(value, str) else _exact(value), 120)


def origin(run: RunData) -> str:
    """The command, and a list of what else meta.json says, of one run."""
    meta = run.meta
    command = meta.get("command")
    shown = ""
    if isinstance(command, list) and command:
        words = [PurePath(str(command[0])).name, *map(str, command[1:])]
        shown = f"<pre>{lines(shlex.join(words))}</pre>"
    facts = {head: value for head, value in _facts(meta).items() if value}
    listed = "".join(f"<div><dt>{head}</dt><dd>{value}</dd></div>" for head, value in facts.items())
    return f"<h3>{text(run.name)}</h3>\n{shown}<dl>{listed}</dl>\n{_data(meta)}" if meta else ""


def _facts(meta: Mapping[str, Any]) -> dict[str, str]:
    versions, git, machine, weights = (meta.get(key) for key in ("versions", "git", "machine", "weights"))
    facts = {"started": text(meta.get("started") or ""), "seed": text("" if meta.get("seed") is None else meta["seed"])}
    if isinstance(versions, dict):
        facts["versions"] = text(", ".join(f"{name} {value}" for name, value in versions.items()), 600)
    if isinstance(git, dict):
        facts["git"] = text(f"{git.get('commit')}" + (", with changes" if git.get("dirty") else ""))
    if isinstance(machine, dict):
        facts["machine"] = text(f"{machine.get('system')} {machine.get('release')}, {machine.get('cpus')} CPUs")
    if isinstance(weights, dict):
        facts["weights"] = text(", ".join(f"{key}: {value}" for key, value in weights.items()), 600)
    return facts


def _data(meta: Mapping[str, Any]) -> str:
    """The data set, and its files by their last names: where they lie says nothing on another machine."""
    data = meta.get("data")
    if not isinstance(data, dict):
        return ""
    said = f"<p>data {text(data.get('name'))}, {text(data.get('found'))}</p>"
    sums = data.get("sha256")
    if not isinstance(sums, dict) or not sums:
        return said
    rows = ([text(PurePath(str(path)).name, 120), f"<code>{text(value, 80)}</code>"] for path, value in sums.items())
    return said + folded(f"{len(sums)} files and their SHA-256", table(["file", "SHA-256"], rows))

"""`d2l list [KIND]`: what there is to choose from, read from the tables; nothing is imported."""

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from d2lcli.commands.terminal import print_json, print_table, short_count
from d2lcli.config.places import BUNDLES, conf_dir, conf_names
from d2lcli.errors import ConfigError, clean, nearest
from d2lcli.registry import REGISTRIES
from d2lcli.registry.plugins import hidden_names, outside_names

KINDS = {
    "model": "networks",
    "data": "data sets",
    "task": "what a batch means",
    "loss": "losses of a task",
    "metric": "metrics of a task",
    "optim": "optimizers",
    "scheduler": "learning-rate schedules",
    "strategy": "ways to use several processes",
    "init": "ways to begin the weights",
    "tokenizer": "ways to cut text into tokens",
    "decoder": "ways to generate sequences",
    "search": "searches for hyperparameters",
    "hardware": "bundles of device, precision and strategy",
    "experiment": "published runs of the book",
}
_DETAILS = ("task", "data", "optim", "scheduler", "min_image_size", "shape", "num_outputs", "source", "plugin")


def list_kinds(json_output: bool = False) -> None:
    """Print every kind, the number of its entries, and what it is."""
    rows = [{"name": kind, "count": len(entries(kind)), "description": words} for kind, words in KINDS.items()]
    if json_output:
        print_json(rows)
    else:
        print_table(["kind", "entries", ""], [[row["name"], row["count"], row["description"]] for row in rows])


def list_entries(kind: str, details: bool = False, json_output: bool = False) -> None:
    """Print the entries of a kind.

    Raises:
        ConfigError: there is no such kind.
    """
    kind = _kind(kind)
    rows = entries(kind)
    if json_output:
        print_json(rows)
        return
    for name, point in hidden_names(REGISTRIES[kind]).items() if kind in REGISTRIES else ():
        print(
            f"note: {kind} '{name}' is d2l's own; the plugin {clean(point.value)} may not replace it", file=sys.stderr
        )
    if kind == "model" and details:
        _print_comparison(rows)
        return
    columns = [name for name in _DETAILS if details and any(row.get(name) for row in rows)]
    cells = [[row["name"], row["description"], *(row.get(column) or "" for column in columns)] for row in rows]
    print_table(["name", "description", *columns], cells)


def _print_comparison(rows: Sequence[Mapping[str, Any]]) -> None:
    """The models side by side, by year and paper; all else that is known of them stands in the JSON."""
    ordered = sorted(rows, key=lambda row: (row.get("year", 0), row.get("source", ""), row.get("parameters", 0)))
    cells = []
    for row in ordered:
        counts = [short_count(row[key]) if row.get(key) else "" for key in ("parameters", "multiply_adds")]
        about = [row.get("idea") or row["description"], row.get("source", "")]
        cells.append([row["name"], str(row.get("year") or ""), row.get("depth") or "", *counts, *about])
    right = ["year", "depth", "params", "mult-adds"]
    print_table(["name", *right, "idea", "source"], cells, right=right, cut="idea")


def entries(kind: str) -> list[dict[str, Any]]:
    """The entries of a kind as plain dictionaries with at least a name and a description."""
    if kind in BUNDLES:
        return [{"name": name, "description": _first_comment(kind, name)} for name in conf_names(kind)]
    registry = REGISTRIES[kind]
    outside = [
        {"name": name, "description": f"From the plugin {point.value}", "target": point.value, "plugin": point.value}
        for name, point in outside_names(registry).items()
    ]
    return sorted([*registry.rows(), *outside], key=lambda row: str(row["name"]))


def _kind(word: str) -> str:
    """The kind that a word means; plurals are understood.

    Raises:
        ConfigError: none.
    """
    plurals = {f"{kind}s": kind for kind in KINDS} | {
        "losses": "loss", "strategies": "strategy", "searches": "search", "optimizers": "optim", "datasets": "data",
        "initializers": "init",
    }  # fmt: skip
    kind = plurals.get(word, word)
    if kind not in KINDS:
        hint = nearest(word, KINDS) or f" (known: {', '.join(KINDS)})"
        raise ConfigError(f"unknown kind '{clean(word, 80)}'{hint}", "see: d2l list")
    return kind


def _first_comment(bundle: str, name: str) -> str:
    lines = (conf_dir() / bundle / f"{name}.yaml").read_text(encoding="utf-8").splitlines()
    words = (line.lstrip("# ") for line in lines if line.startswith("#") and "@package" not in line)
    return next(words, "")

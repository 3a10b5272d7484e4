"""`d2l data list`, `fetch` and `check`: what data there is, where it was found, and whether it is intact."""

import sys
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from d2lcli.commands.terminal import print_json, print_table
from d2lcli.data.download import fetch
from d2lcli.data.find import locate, read_checked
from d2lcli.data.sources import SOURCES, Source
from d2lcli.errors import ConfigError, DataError
from d2lcli.registry import DATASETS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from d2lcli.data.download import Progress

Row = dict[str, Any]


def list_data(json_output: bool = False) -> None:
    """Print every data set: its name, where its files are, what it is.  Opens no data file."""
    rows = []
    for entry in DATASETS.rows():
        source = SOURCES.get(entry["name"])
        rows.append(
            {
                "name": entry["name"],
                "status": _status(source, entry["name"]),
                "place": _place(source),
                "licence": source.licence if source else "",
                "description": entry["description"],
            }
        )
    _show(rows, json_output)


def fetch_data(names: Sequence[str] = (), json_output: bool = False) -> None:
    """Download the named data sets into the cache where no intact copy is on this machine; without names, all of them.

    Raises:
        ConfigError: an unknown name, or a data set without files of its own.
        DataError: a download failed, or a damaged copy stands before the cache.
    """
    rows: list[Row] = []
    with _progress() as progress:
        for source in _chosen(names):
            if source.url and not all(row["status"] == "ok" for row in _examine(source)):
                fetch(source, progress=progress)
            rows += _examine(source)
    _show(rows, json_output)
    _raise_on_damage(rows)


def check_data(names: Sequence[str] = (), json_output: bool = False) -> None:
    """Read the files of the named data sets, or of all that are here, and compare their checksums.

    Raises:
        ConfigError: an unknown name, or a data set without files of its own.
        DataError: a file has another content than it should have, or a data set that was named is not here.
    """
    rows = [row for source in _chosen(names) for row in _examine(source)]
    _show(rows, json_output)
    _raise_on_damage(rows if names else [row for row in rows if row["status"] != "missing"])


def _chosen(names: Sequence[str]) -> list[Source]:
    """The sources of the names, or all."""
    for name in names:
        DATASETS.describe(name)
        if name not in SOURCES:
            raise ConfigError(f"data '{name}' has no files to fetch or check: it is made on the spot, or your own")
    return [source for name, source in SOURCES.items() if not names or name in names]


def _status(source: Source | None, name: str) -> str:
    if source is None:
        return "yours" if "path" in DATASETS.parameters(name) else "made"
    if source.embedded:
        return "embedded"
    return "here" if locate(source) else "missing"


def _place(source: Source | None) -> str:
    found = locate(source) if source else None
    return found.place if found else ""


def _examine(source: Source) -> list[Row]:
    """One row for each file: name, file, status (ok, missing, damaged), checksum of the file as it lies, problem."""
    found = locate(source)
    rows = []
    for file in source.files:
        row: Row = {"name": source.name, "file": file.name, "status": "missing", "sha256": "", "problem": ""}
        if found is not None:
            row["file"] = str(found.paths[file.name])
            try:
                _, row["sha256"] = read_checked(found.paths[file.name], file)
                row["status"] = "ok"
            except DataError as error:
                row["status"], row["problem"] = "damaged", error.message
        rows.append(row)
    return rows


def _raise_on_damage(rows: Sequence[Row]) -> None:
    bad = [row for row in rows if row["status"] != "ok"]
    if bad:
        first = bad[0]
        problem = first["problem"] or f"{first['name']}: {first['file']} is missing"
        raise DataError(f"{len(bad)} of {len(rows)} files are not as they should be; {problem}", "see: d2l data fetch")


@contextmanager
def _progress() -> "Iterator[Progress | None]":
    """A progress bar on a terminal, nothing elsewhere."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bars:
        tasks: dict[str, Any] = {}

        def advance(name: str, done: int, total: int | None) -> None:
            if name not in tasks:
                tasks[name] = bars.add_task(name, total=total)
            bars.update(tasks[name], completed=done, total=total)

        report: Callable[[str, int, int | None], None] = advance
        yield report


def _show(rows: Sequence[Row], json_output: bool) -> None:
    if json_output:
        print_json(list(rows))
        return
    columns = [name for name in (rows[0] if rows else ()) if any(row[name] for row in rows)]
    print_table(columns, [[row[name] for name in columns] for row in rows])

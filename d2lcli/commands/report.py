"""`d2l report RUN...`: one HTML file, and PNG files, that show runs."""

import sys
from collections.abc import Sequence
from pathlib import Path

from d2lcli.commands.terminal import print_json
from d2lcli.errors import ConfigError, D2LError, clean

MOST_NOTES = 10


def report(folders: Sequence[Path], *, output: Path | None, png: bool, open_browser: bool, json_output: bool) -> None:
    """Write a report, and print its path last."""
    path = output or (folders[0] / "report.html" if len(folders) == 1 else Path("report.html"))
    _check(path, chosen=output is not None)

    from d2lcli.reporting.curves import charts
    from d2lcli.reporting.find import find
    from d2lcli.reporting.page import page
    from d2lcli.reporting.summary import plain
    from d2lcli.training.files import finite, replace_file

    found = find(folders)
    drawn, left_out = charts(found.runs)
    replace_file(path, page(found, drawn, left_out).encode("utf-8", "replace"))
    facts = [plain(run) for run in found.runs]
    _say([f"{clean(run['name'], 80)}: {clean(note)}" for run in facts for note in run["notes"]])
    pictures: list[Path] = []
    if png:
        from d2lcli.reporting.pictures import draw_charts

        try:
            pictures = draw_charts(drawn, found.runs, path.with_name(f"{path.stem}-curves"))
        except D2LError as error:
            print(f"note: {error.message} as PNG; {error.hint}", file=sys.stderr)
    if open_browser:
        import webbrowser

        webbrowser.open(path.resolve().as_uri())
    if json_output:
        print_json(finite({"report": str(path), "pictures": [str(each) for each in pictures], "runs": facts}))
        return
    if pictures:
        print(f"{len(pictures)} curves as PNG: {clean(pictures[0].parent)}", file=sys.stderr)
    print(path)


def _say(notes: Sequence[str]) -> None:
    """Some notes on stderr."""
    for note in notes[:MOST_NOTES]:
        print(f"note: {note}", file=sys.stderr)
    if len(notes) > MOST_NOTES:
        print(f"note: and {len(notes) - MOST_NOTES:,} more, see the report", file=sys.stderr)


def _check(path: Path, *, chosen: bool) -> None:
    """Raises: ConfigError: no report can be written there, or something else would be lost."""
    if path.suffix not in (".html", ".htm"):
        raise ConfigError(f"--output {clean(path)}: a report is an HTML file", "give a name that ends in .html")
    if path.is_dir():
        raise ConfigError(f"--output {clean(path)}: is a folder")
    if chosen and not path.parent.is_dir():
        raise ConfigError(f"--output {clean(path)}: there is no folder {clean(path.parent)}", "make it first")

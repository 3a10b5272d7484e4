"""`d2l benchmark-hardware`, short `d2l bench`: measure this machine, print tables, keep a profile."""

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from d2lcli.commands.terminal import print_json
from d2lcli.errors import ConfigError, clean, nearest
from d2lcli.hardware.tables import RIGHT, table
from d2lcli.hardware.topics import TOPICS

SECONDS = {True: 0.1, False: 0.6}  # for the samples of one row
MANY = 8  # devices that --simulate pretends where nobody says how many
PLOT = Path("roofline.png")
STYLES = {"median": "bold", "p10..p90": "dim", "book": "cyan"}
FOLDED = ("what", "sizes", "book", "note")  # columns of words
WIDE = 1000  # characters of a line in a file


def bench(
    topics: Sequence[str],
    *,
    gpus: int | None = None,
    cpus: int | None = None,
    quick: bool = False,
    simulate: bool = False,
    plot: bool = False,
    json_output: bool = False,
) -> None:
    """Measure topics, all of them where none is named, and print them; or print what formulas say.

    Args:
        topics: of `TOPICS`.
        gpus: how many work together.
        cpus: how many processes of the CPU do, which is then what is measured.
        quick: fewer sizes and repeats: about a minute.
        simulate: measure nothing; predict machines that are not here.
        plot: draw the roofline into a file here.
        json_output: one JSON object instead of tables.

    Raises:
        ConfigError: an unknown topic, or more GPUs than there are.
    """
    chosen = _check(topics, gpus, cpus)
    import torch

    from d2lcli.hardware.machine import available_cores, describe, machine

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if gpus and gpus > count and not simulate:
        raise _too_many(gpus, count)
    if cpus:
        torch.set_num_threads(min(cpus, available_cores()))
    found = machine(torch.get_num_threads())
    if not json_output:
        print("\n".join(describe(found)))
    if simulate:
        _simulate(found, gpus or cpus or MANY, json_output)
        return
    if plot and "roofline" not in chosen:
        chosen.append("roofline")
    on_gpu = bool(count) and not cpus
    _measure(found, chosen, on_gpu, gpus or cpus or (count if on_gpu else found["cores"]), quick, plot, json_output)


def _check(topics: Sequence[str], gpus: int | None, cpus: int | None) -> list[str]:
    problems = []
    for topic in topics:
        if topic not in TOPICS:
            hint = nearest(topic, TOPICS) or f" (known: {', '.join(TOPICS)})"
            problems.append(f"unknown topic '{clean(topic, 80)}'{hint}")
    if gpus and cpus:
        problems.append("--gpus and --cpus are two machines: measure them one after the other")
    if problems:
        raise ConfigError(problems, "see: d2l bench --help")
    return list(topics) or list(TOPICS)


def _too_many(gpus: int, count: int) -> ConfigError:
    there = f"has {count}" if count else "has none that torch can use"
    fewer = f"--gpus {count}" if count else "d2l bench without --gpus"
    return ConfigError(
        f"--gpus {gpus}: this machine {there}",
        f"measure what is here: {fewer}; predict {gpus} by formula: --gpus {gpus} --simulate; "
        f"measure {gpus} processes of the CPU: --cpus {gpus}",
    )


def _measure(
    found: dict[str, Any], topics: list[str], on_gpu: bool, processes: int, quick: bool, plot: bool, json_output: bool
) -> None:
    """Measure, print each topic as soon as it is done, and keep the profile."""
    import torch

    from d2lcli.hardware.bench import Bench
    from d2lcli.hardware.profile import profile_path, save_profile
    from d2lcli.hardware.run import measure

    bench = Bench(
        torch.device("cuda", 0) if on_gpu else torch.device("cpu"),
        threads=found["threads"],
        processes=processes,
        cores=found["cores"],
        quick=quick,
        seconds=SECONDS[quick],
        clock=time.perf_counter if on_gpu or found["threads"] > 1 else time.process_time,
        load=_loader,
    )
    rows: list[dict[str, Any]] = []
    notes: list[str] = []
    say = _teller()
    for topic, made, remarks in measure(bench, topics, say):
        say("")
        fresh = [row.plain() for row in made]
        rows += fresh
        notes += remarks
        if not json_output:
            print_rows(f"{topic}: {TOPICS[topic]}", fresh, remarks)
    path = profile_path(found)
    save_profile(path, found, rows)
    picture = None
    if plot:
        from d2lcli.hardware.roofline import plot_roofline

        picture = plot_roofline([row for row in rows if row["topic"] == "roofline"], PLOT)
    if json_output:
        print_json({"machine": found, "rows": rows, "notes": notes, "profile": str(path),
                    "plot": str(picture) if picture else None})  # fmt: skip
        return
    if picture:
        print(f"\n{picture}")
    print(f"\nprofile: {path}")


def print_rows(title: str, rows: Sequence[Mapping[str, Any]], notes: Sequence[str]) -> None:
    """One table with a line above it and remarks below; a narrow terminal folds its cells, a file gets all of them."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    print(f"\n{title}\n")
    if rows:
        headers, lines = table(rows)
        shown = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
        for header in headers:
            shown.add_column(
                header.upper(), justify="right" if header in RIGHT else "left", style=STYLES.get(header, ""),
                overflow="fold", no_wrap=header not in FOLDED,
            )  # fmt: skip
        for line in lines:
            shown.add_row(*line)
        console = Console(markup=False, highlight=False, emoji=False)
        if not console.is_terminal:
            console.width = WIDE
        console.print(shown)
    for note in notes:
        print(f"- {note}")


def _simulate(found: Mapping[str, Any], ranks: int, json_output: bool) -> None:
    """Formulas alone; the time of one device comes from this machine's profile, where it has one."""
    from d2lcli.hardware.profile import load_profile, profile_path
    from d2lcli.hardware.simulate import rows as model

    profile = load_profile(profile_path(found))
    steps = [row["facts"] for row in profile["rows"] if row["facts"].get("kind") == "training"] if profile else []
    made = list(model(ranks, steps))
    notes = [row for row in made if isinstance(row, str)]
    plain = [row.plain() for row in made if not isinstance(row, str)]
    if json_output:
        print_json({"machine": dict(found), "rows": plain, "notes": notes, "profile": None, "plot": None})
    else:
        print_rows(f"simulate: {ranks} devices by formula; nothing here is measured", plain, notes)


def _loader() -> tuple[Callable[[], object], int]:
    """A pass over the embedded images with the loader of `d2l train`, and how many they are."""
    from d2lcli.config import compose
    from d2lcli.training.build import build

    loader = build(compose(["model=lenet", "data.batch_size=256", "hardware=cpu"]).values).train

    def read() -> None:
        for _ in loader.batches(0, 0):
            pass

    return read, len(loader.split)


def _teller() -> Callable[[str], None]:
    """Says on stderr what is measured: in one changing line of a terminal, else once for each topic."""
    said: set[str] = set()

    def say(line: str) -> None:
        if sys.stderr is None:
            return
        if sys.stderr.isatty():
            print(f"\r\x1b[K{line[:78]}", end="", file=sys.stderr, flush=True)
        elif line and line.partition(":")[0] not in said:
            said.add(line.partition(":")[0])
            print(f"measuring {line.partition(':')[0]}", file=sys.stderr, flush=True)

    return say

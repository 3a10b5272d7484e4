"""Measures topics one after the other."""

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from d2lcli.hardware import (
    collectives,
    compute,
    launch,
    layers,
    memory,
    models,
    precision,
    roofline,
    scaling,
    sequence,
    storage,
    transfer,
)
from d2lcli.hardware.bench import Bench, Row
from d2lcli.hardware.topics import TOPICS

Probe = Callable[[Bench], Iterator[Row | str]]
PROBES: dict[str, Probe] = {
    "compute": compute.rows, "memory": memory.rows, "transfer": transfer.rows, "launch": launch.rows,
    "layers": layers.rows, "models": models.rows, "precision": precision.rows, "sequence": sequence.rows,
    "storage": storage.rows, "collectives": collectives.rows, "scaling": scaling.rows, "roofline": roofline.rows,
}  # fmt: skip


# Measured in several passes, with everything else between them: the clock of a processor, what else its machine does,
# and where in memory an array happens to lie change from pass to pass, which samples of one moment do not show.  The
# others start processes, which takes long.
REPEATED = tuple(topic for topic in TOPICS if topic not in ("collectives", "scaling"))
PASSES = 4


def measure(
    bench: Bench, topics: Sequence[str], say: Callable[[str], None]
) -> Iterator[tuple[str, list[Row], list[str]]]:
    """Topic by topic: its name, its rows, and sentences about what was not measured.

    Args:
        bench: how to measure.
        topics: of `TOPICS`; they are measured in the order that the table has.
        say: tells a person what is going on.
    """
    part = replace(bench, share=bench.share / PASSES)
    chosen = [topic for topic in TOPICS if topic in topics]
    before: dict[tuple[str, ...], Row] = {}
    for number in range(1, PASSES):
        for topic in chosen:
            if topic in REPEATED:
                rows, _ = _measured(part, topic, functools.partial(_say, say, number))
                before |= {_name(row): _joined(row, before.get(_name(row))) for row in rows}
    for topic in chosen:
        rows, notes = _measured(part if topic in REPEATED else bench, topic, say)
        yield topic, [_joined(row, before.get(_name(row))) for row in rows], notes


def _say(say: Callable[[str], None], number: int, what: str) -> None:
    say(f"pass {number} of {PASSES}: {what}")


def _measured(bench: Bench, topic: str, say: Callable[[str], None]) -> tuple[list[Row], list[str]]:
    """The rows of a topic, and sentences."""
    rows: list[Row] = []
    notes: list[str] = []
    for found in PROBES[topic](bench):
        if isinstance(found, str):
            notes.append(found)
        else:
            rows.append(found)
            say(f"{topic}: {found.what} {found.sizes}")
    return rows, notes


def _name(row: Row) -> tuple[str, ...]:
    """What tells a row from all others."""
    return (row.topic, row.what, row.dtype, row.sizes, row.workers, row.device, row.unit)


def _joined(row: Row, before: Row | None) -> Row:
    """The row as it was first measured, with what later passes found."""
    return row if before is None else replace(before, figure=before.figure.joined(row.figure))

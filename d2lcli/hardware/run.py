"""Measures topics one after the other."""

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


# Measured in two passes, the second after everything else: the clock of a processor, and what else its machine does,
# change from minute to minute, which samples of one moment do not show.  The others take long to begin.
TWICE = ("compute", "memory", "transfer", "layers", "models", "precision", "sequence", "roofline")


def measure(
    bench: Bench, topics: Sequence[str], say: Callable[[str], None]
) -> Iterator[tuple[str, list[Row], list[str]]]:
    """Topic by topic: its name, its rows, and sentences about what was not measured.

    Args:
        bench: how to measure.
        topics: of `TOPICS`; they are measured in the order that the table has.
        say: tells a person what is going on.
    """
    half = replace(bench, seconds=bench.seconds / 2)
    chosen = [topic for topic in TOPICS if topic in topics]
    before: dict[tuple[str, ...], Row] = {}
    for topic in chosen:
        if topic in TWICE:
            before |= {_name(row): row for row in _measured(half, topic, lambda what: say(f"first pass, {what}"))[0]}
    for topic in chosen:
        rows, notes = _measured(half if topic in TWICE else bench, topic, say)
        yield topic, [_joined(row, before.get(_name(row))) for row in rows], notes


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
    """A row with the samples of both passes."""
    return row if before is None else replace(row, figure=row.figure.joined(before.figure))

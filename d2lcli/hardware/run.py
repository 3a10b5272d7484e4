"""Measures topics one after the other."""

from collections.abc import Callable, Iterator, Sequence

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


def measure(
    bench: Bench, topics: Sequence[str], say: Callable[[str], None]
) -> Iterator[tuple[str, list[Row], list[str]]]:
    """Topic by topic: its name, its rows, and sentences about what was not measured.

    Args:
        bench: how to measure.
        topics: of `TOPICS`; they are measured in the order that the table has.
        say: tells a person what is going on.
    """
    for topic in TOPICS:
        if topic not in topics:
            continue
        rows: list[Row] = []
        notes: list[str] = []
        for found in PROBES[topic](bench):
            if isinstance(found, str):
                notes.append(found)
            else:
                rows.append(found)
                say(f"{topic}: {found.what} {found.sizes}")
        yield topic, rows, notes

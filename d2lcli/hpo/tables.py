"""Our tables, beside Optuna's: studies, what happened in them, and who works on them."""

import json
from dataclasses import fields
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple, get_args

from d2lcli.hpo.events import Event, Kind

if TYPE_CHECKING:
    from sqlalchemy import MetaData, Row, Table

FORMAT = 1  # of a study's rows


class Tables(NamedTuple):
    """Columns that say no more than a field of `Event` have the field's name.

    Attributes:
        metadata: of all three.
        studies: `spec` and `space` are JSON; `space` has Optuna's own form of each dimension.
        events: `number` counts a study's from 1 on without holes; `last`: the trial is complete; `optuna_trial`: of the
            first start of a trial, the key of its row in Optuna's table.
        workers: `home` and `started` tell a process from all others; `beat` counts its signs of life; `quit`: it ended.
    """

    metadata: "MetaData"
    studies: "Table"
    events: "Table"
    workers: "Table"


@cache
def tables() -> Tables:
    """All three; SQLAlchemy is imported here."""
    from sqlalchemy import Boolean, Column, Float, ForeignKey, Index, Integer, MetaData, Table, Text

    metadata = MetaData()
    studies = Table(
        "d2l_studies",
        metadata,
        Column("study", Integer, primary_key=True),
        Column("name", Text, nullable=False, unique=True),
        Column("format", Integer, nullable=False),
        Column("mode", Text, nullable=False),
        Column("spec", Text, nullable=False),
        Column("space", Text, nullable=False),
    )
    events = Table(
        "d2l_events",
        metadata,
        Column("study", ForeignKey("d2l_studies.study"), primary_key=True),
        Column("number", Integer, primary_key=True, autoincrement=False),
        Column("kind", Text, nullable=False),
        Column("trial", Integer, nullable=False),
        Column("rung", Integer, nullable=False),
        Column("resource", Float(53), nullable=False),
        Column("value", Float(53)),
        Column("config", Text),
        Column("worker", Text, nullable=False),
        Column("time", Float(53), nullable=False),
        Column("attempt", Integer, nullable=False),
        Column("reason", Text, nullable=False),
        Column("last", Boolean, nullable=False),
        Column("optuna_trial", Integer),
        Index("d2l_events_trial", "study", "trial"),
    )
    workers = Table(
        "d2l_workers",
        metadata,
        Column("study", ForeignKey("d2l_studies.study"), primary_key=True),
        Column("worker", Text, primary_key=True),
        Column("host", Text, nullable=False),
        Column("home", Text, nullable=False),
        Column("pid", Integer, nullable=False),
        Column("started", Text, nullable=False),
        Column("beat", Integer, nullable=False),
        Column("grace", Float(53), nullable=False),
        Column("quit", Boolean, nullable=False),
    )
    return Tables(metadata, studies, events, workers)


def to_values(event: Event) -> dict[str, Any]:
    """The columns of an event."""
    config = None if event.config is None else json.dumps(event.config)
    return {field.name: getattr(event, field.name) for field in fields(event)} | {"config": config}


def to_event(row: "Row[Any]") -> Event:
    """The event of a row.

    Raises:
        ValueError: nobody has ever appended such a row.
    """
    values = {field.name: getattr(row, field.name) for field in fields(Event)}
    if row.kind not in get_args(Kind):
        raise ValueError(f"the kind of event {row.number} is {row.kind!r}")
    return Event(**values | {"config": None if row.config is None else json.loads(row.config)})

"""Studies that last: their events in a database that any number of workers share.

An event has a number, and each number is given once: whoever decides by an old view of a study cannot write, even where
a lock has failed.  Optuna's tables in the same database mirror the events (`mirror.py`).
"""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from d2lcli.errors import ConfigError, clean
from d2lcli.hpo.database import Database, open_database
from d2lcli.hpo.events import Event
from d2lcli.hpo.faults import GO_ON, LEFT, OTHER, StorageError
from d2lcli.hpo.place import read_url
from d2lcli.hpo.roster import Roster
from d2lcli.hpo.space import Space
from d2lcli.hpo.tables import FORMAT, tables, to_event, to_values

if TYPE_CHECKING:
    from sqlalchemy import Connection, Row

    from d2lcli.hpo.mirror import Mirror

PATIENCE = 60.0  # seconds to wait for another program, or for a server
GRACE = 60.0  # seconds of silence after which a worker of another machine is taken for dead
LONGEST = 255  # characters of a study's name


class StaleError(StorageError):
    """Somebody else has written meanwhile, in spite of the lock."""


def open_storage(url: str, *, say: Callable[[str], None], patience: float = PATIENCE) -> "Storage":
    """Open a database of studies; tables that are missing are made.  Any number of processes may do so at once.

    Args:
        url: sqlite:///FILE or postgresql://USER:PASSWORD@HOST:PORT/NAME.
        say: prints one line; may be called from another thread.
        patience: seconds to wait for a program that locks the database, or for a server that has gone away.

    Raises:
        ConfigError: the URL is none, or of another kind of database.
        StorageError: the database is missing, damaged, read-only, another program's, or of another version.
    """
    return Storage(open_database(read_url(url), say, patience), say)


class Storage:
    """The studies of a database.

    Args:
        database: ready for use.
        say: prints one line.
    """

    def __init__(self, database: Database, say: Callable[[str], None]) -> None:
        self._database, self._say = database, say

    def names(self) -> list[str]:
        """Of all studies, in the order in which they were begun."""
        from sqlalchemy import select

        studies = tables().studies
        query = select(studies.c.name).order_by(studies.c.study)
        return list(self._database.read(lambda connection: connection.execute(query).scalars().all()))

    def spec(self, name: str) -> dict[str, Any] | None:
        """The spec of a study; None where there is none of this name.

        Raises:
            StorageError: it is of another version of d2l, or damaged.
        """
        row = self._row(name)
        return None if row is None else _load(row.spec, self._shown(name))

    def join(self, name: str, spec: Mapping[str, Any], space: Space, mode: str) -> dict[str, Any]:
        """Begin a study, or find the one of this name.  Not while a study is locked.

        Args:
            name: of the study.
            spec: what is searched, in values that JSON can hold.
            space: of its trials.
            mode: min or max; Optuna is shown the user's values, which are those of the events negated for max.

        Returns:
            The spec that is stored: the caller compares.

        Raises:
            ConfigError: Optuna has a study of this name that is not ours, or it is no name.
            StorageError: the database cannot be used.
        """
        if not 0 < len(name) <= LONGEST or clean(name, LONGEST) != name:
            raise ConfigError(f"study: '{clean(name, 80)}' must be a printable name of up to {LONGEST} characters")
        if self._row(name) is None:
            with self._database.locked(0):
                if self._row(name) is None:
                    self._begin(name, spec, space, mode)
        found = self.spec(name)
        assert found is not None
        return found

    def log(self, name: str) -> "Log":
        """The events of a study.

        Raises:
            StorageError: there is no such study, or the database cannot be used.
        """
        from d2lcli.hpo.mirror import Mirror

        row = self._row(name)
        if row is None:
            raise StorageError(f"{self._shown(name)} is not there", "d2l hpo --study NAME begins one")
        space = _load(row.space, self._shown(name))
        mirror = Mirror(self._database.rdb, row.study, name, space, row.mode, self._say)
        if not self._database.read(mirror.exists):
            with self._database.locked(row.study):
                if not self._database.read(mirror.exists):
                    mirror.guard(lambda: self._database.write(mirror.restore), lambda: None)
        return Log(self._database, row.study, mirror, self._shown(name))

    def _shown(self, name: str) -> str:
        return f"{self._database.place.shown}: the study '{clean(name, 80)}'"

    def _row(self, name: str) -> "Row[Any] | None":
        """Of a study.

        Raises:
            StorageError: it is of another version of d2l.
        """
        from sqlalchemy import select

        query = select(tables().studies).where(tables().studies.c.name == name)
        row = self._database.read(lambda connection: connection.execute(query).one_or_none())
        if row is not None and row.format != FORMAT:
            raise StorageError(
                f"{self._shown(name)} is of another version of d2l (format {clean(row.format, 20)}, not {FORMAT})",
                OTHER,
            )
        return row

    def _begin(self, name: str, spec: Mapping[str, Any], space: Space, mode: str) -> None:
        """Write the rows of a study, ours and Optuna's, in one transaction."""
        from optuna.exceptions import DuplicatedStudyError

        from d2lcli.hpo.mirror import Mirror, distribution

        forms = {key: distribution(dimension) for key, dimension in space.items()}
        values = {"name": name, "format": FORMAT, "mode": mode, "spec": json.dumps(spec), "space": json.dumps(forms)}

        def write(connection: "Connection") -> None:
            done = connection.execute(tables().studies.insert().values(values))
            assert done.inserted_primary_key is not None
            Mirror(self._database.rdb, done.inserted_primary_key[0], name, forms, mode, self._say).begin(connection)

        try:
            self._database.write(write)
        except DuplicatedStudyError:
            raise ConfigError(
                f"{self._shown(name)} is one of Optuna's, which d2l has not begun", "choose another --study"
            ) from None


class Log:
    """The events of one study, as one reader sees them.

    Args:
        database: where they are.
        study: the key of its row.
        mirror: Optuna's view of it.
        shown: the study, for messages.
    """

    def __init__(self, database: Database, study: int, mirror: "Mirror", shown: str) -> None:
        self._database, self._study, self._mirror, self._shown = database, study, mirror, shown
        self._roster = Roster(database, study)
        self._read = 0  # the number of the last event that was read
        self._known = 0  # the number of the last one that this object has read or appended
        self._held = False

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the study, so that nobody else decides.  Not to be nested, nor shared by threads.

        Raises:
            StorageError: the database cannot be used.
        """
        with self._database.locked(self._study):
            self._held = True
            try:
                yield
            finally:
                self._held = False

    def read(self) -> list[Event]:
        """The events that were appended since the last call, in order.

        Raises:
            StorageError: the database cannot be used, or the events in it are damaged.
        """
        from sqlalchemy import select

        events = tables().events
        query = select(events).where(events.c.study == self._study, events.c.number > self._read)
        rows = self._database.read(lambda connection: connection.execute(query.order_by(events.c.number)).all())
        try:
            found = [to_event(row) for row in rows]
        except (TypeError, ValueError) as error:
            raise StorageError(f"{self._shown} is damaged: {clean(error)}", LEFT) from None
        if [row.number for row in rows] != list(range(self._read + 1, self._read + 1 + len(rows))):
            raise StorageError(f"{self._shown} is damaged: there are events missing after {self._read}", LEFT)
        self._read += len(found)
        self._known = max(self._known, self._read)
        return found

    def append(self, event: Event, *, last: bool = False) -> None:
        """Write the next event, and its mirror: afterwards both are durable, or this raises and neither is there.

        Only while the study is locked, and after all events were read.

        Args:
            event: to be written; control characters in its reason are escaped.
            last: after this report the trial is complete.

        Raises:
            StaleError: there are events that this object has not read.
            StorageError: the database cannot be used.
        """
        assert self._held, "only while the study is locked"
        event = replace(event, reason=clean(event.reason, 1000))

        def write(mirror: "Mirror | None") -> bool:
            return self._database.write(lambda connection: self._write(connection, event, last, mirror))

        if not self._mirror.guard(lambda: write(self._mirror), lambda: write(None)):
            raise StaleError(
                f"{self._shown} was changed by another process, in spite of its lock",
                f"several machines need a postgresql:// storage; {GO_ON}",
            )
        self._known += 1

    def settle(self) -> None:
        """At the end of a search: trials that rest are pruned, for Optuna.  Only while the study is locked."""
        assert self._held, "only while the study is locked"
        self._mirror.guard(lambda: self._database.write(self._mirror.settle), lambda: None)

    def extend(self, changes: Mapping[str, Any]) -> None:
        """Change the stored spec, as to more trials.  Only while the study is locked."""
        from sqlalchemy import select

        assert self._held, "only while the study is locked"
        studies = tables().studies
        here = studies.c.study == self._study

        def write(connection: "Connection") -> None:
            old = _load(connection.execute(select(studies.c.spec).where(here)).scalar_one(), self._shown)
            connection.execute(studies.update().where(here).values(spec=json.dumps(old | dict(changes))))

        self._database.write(write)

    def enter(self, worker: str, *, grace: float = GRACE) -> None:
        """A worker begins, in this process.

        Args:
            worker: a name that no other worker has.
            grace: seconds of silence after which other machines may take it for dead.
        """
        self._roster.enter(worker, grace)

    def beat(self, worker: str) -> None:
        """A worker gives a sign of life; from any thread."""
        self._roster.beat(worker)

    def leave(self, worker: str) -> None:
        """A worker ends; a job that it has not given back is nobody's."""
        self._roster.leave(worker)

    def lost(self) -> list[str]:
        """Workers that do no job any more: they have left, are dead, or are silent for longer than their grace."""
        return self._roster.lost()

    def _write(self, connection: "Connection", event: Event, last: bool, mirror: "Mirror | None") -> bool:
        """Insert an event and mirror it; False where another event has its number."""
        from sqlalchemy import select

        events, number = tables().events, self._known + 1
        query = select(events).where(events.c.study == self._study, events.c.number == number)
        if row := connection.execute(query).one_or_none():
            return to_event(row) == event  # the connection may have broken after the server had written it
        values = to_values(event) | {"study": self._study, "number": number, "last": last}
        connection.execute(events.insert().values(values))
        if mirror is not None:
            mirror.write(connection, event, number, last)
        return True


def _load(text: str, shown: str) -> dict[str, Any]:
    """Raises: StorageError: the text of a row is damaged."""
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise StorageError(f"{shown} is damaged", LEFT)
    return found

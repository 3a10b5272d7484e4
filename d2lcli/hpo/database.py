"""The database of studies: an SQLite file or a PostgreSQL server that holds Optuna's tables, and three of ours.

A file is there whole or not at all: it is made beside its place and renamed.  What is damaged, or belongs to another
program, is refused before anything is written.
"""

import os
import sqlite3
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

from d2lcli.errors import clean
from d2lcli.hpo.faults import LEFT, OTHER, DriverError, StorageError, patiently
from d2lcli.hpo.locks import hold_advisory, hold_file
from d2lcli.hpo.place import Place
from d2lcli.hpo.tables import tables

if TYPE_CHECKING:
    from optuna.storages import RDBStorage
    from sqlalchemy import Connection, Engine
    from sqlalchemy.engine import ExceptionContext

T = TypeVar("T")
SOME_OF_OPTUNA = {"studies", "trials", "version_info", "alembic_version"}


class Database:
    """A database that is ready for use; one for all threads of a process.

    Args:
        place: where it is.
        rdb: Optuna's storage in it.
        say: prints one line.
        patience: seconds to wait for a program that locks it, or for a server that has gone away.
    """

    def __init__(self, place: Place, rdb: "RDBStorage", say: Callable[[str], None], patience: float) -> None:
        self.place, self.rdb = place, rdb
        self._say, self._patience, self._engine = say, patience, rdb.engine
        weakref.finalize(self, self._engine.dispose)

    @contextmanager
    def locked(self, key: int) -> Iterator[None]:
        """Hold the lock of a study, 0 for all that concerns several; in a file, one lock serves them all.

        Raises:
            StorageError: the database cannot be used.
        """

        def hold() -> Callable[[], None]:
            return _hold(self.place, self._engine, key, self._say)

        release = patiently(self.place, self._say, self._patience, hold)
        try:
            yield
        finally:
            release()

    def read(self, action: "Callable[[Connection], T]") -> T:
        """Do something that changes nothing.

        Raises:
            StorageError: the database cannot be used.
        """
        return patiently(self.place, self._say, self._patience, lambda: _read(self._engine, action))

    def write(self, action: "Callable[[Connection], T]") -> T:
        """Do something in one transaction: afterwards it is durable, or it has raised and left no trace.

        Args:
            action: is done again from its beginning where the database was locked.

        Raises:
            StorageError: the database cannot be used.
            RuntimeError: Optuna has met a row that another program wrote at the same time.
        """

        def attempt() -> T:
            with self._engine.connect() as connection, connection.begin() as transaction:
                result = action(connection)
                if not transaction.is_active:
                    raise RuntimeError("Optuna has taken the transaction back")
                return result

        return patiently(self.place, self._say, self._patience, attempt)


def open_database(place: Place, say: Callable[[str], None], patience: float) -> Database:
    """Open a database; make what is missing, refuse what is not ours.

    Raises:
        StorageError: the file or the server cannot be used.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    if place.file is None:
        _require_psycopg()
        patience_now = 0.0  # a server that is away now was most likely never there: nobody wants to wait for that
    else:
        _check_file(place.file)
        patience_now = patience
    if place.file is not None and not _has_content(place.file):
        patiently(place, say, patience, lambda: _create_file(place, say))
    return patiently(place, say, patience_now, lambda: _open(place, say, patience))


def _open(place: Place, say: Callable[[str], None], patience: float) -> Database:
    from sqlalchemy import create_engine

    url, options = _arguments(place, min(1.0, patience))
    engine = create_engine(url, **options)
    try:
        if not _read(engine, partial(_look, place=place)):
            release = _hold(place, engine, 0, say)
            try:
                if not _read(engine, partial(_look, place=place)):
                    _optuna(url, options).engine.dispose()
                    tables().metadata.create_all(engine)
            finally:
                release()
    finally:
        engine.dispose()
    rdb = _optuna(url, options, complete=True)
    found, head = rdb.get_current_version(), rdb.get_head_version()
    if found != head:
        older = found in rdb.get_all_versions()
        rdb.engine.dispose()
        raise StorageError(
            f"{place.shown}: Optuna's tables in it are of version {clean(found, 40)}, not {head}",
            "nothing was changed; copy the database, then upgrade it: optuna storage upgrade --storage URL"
            if older
            else "nothing was changed; a newer Optuna may know it: pip install -U optuna",
        )
    _listen(rdb.engine, place.file is not None)
    return Database(place, rdb, say, patience)


def _look(connection: "Connection", place: Place) -> bool:
    """Whether all tables are there.

    Raises:
        StorageError: they are another program's, or of another version.
    """
    from sqlalchemy import inspect

    if place.file is not None:
        _check_pages(connection, place.file)
    inspector = inspect(connection)
    names = set(inspector.get_table_names())
    ours = {table.name: {column.name for column in table.columns} for table in tables().metadata.tables.values()}
    for name in names & set(ours):
        if ours[name] - {column["name"] for column in inspector.get_columns(name)}:
            raise StorageError(f"{place.shown}: its table {name} is of another version of d2l", OTHER)
    strange = place.file is not None and names and not names & (SOME_OF_OPTUNA | set(ours))
    if strange or ("alembic_version" in names and "version_info" not in names):
        raise StorageError(f"{place.shown}: is the database of another program", OTHER)
    stamped = all(name in names and _any(connection, name) for name in ("version_info", "alembic_version"))
    if not stamped and "trials" in names and _any(connection, "trials"):
        raise StorageError(f"{place.shown}: Optuna's tables in it are of an unknown version", OTHER)
    return stamped and set(ours) <= names


def _check_pages(connection: "Connection", path: Path) -> None:
    """Raises: StorageError: parts of the file are missing or overwritten."""
    from sqlalchemy import text

    found = connection.execute(text("PRAGMA quick_check(1)")).scalar()
    size, count, mode = (
        connection.execute(text(f"PRAGMA {name}")).scalar_one() for name in ("page_size", "page_count", "journal_mode")
    )
    if found == "ok" and mode != "wal" and path.stat().st_size < size * count:
        found = f"it has {path.stat().st_size} bytes of {size * count}"
    if found != "ok":
        raise StorageError(f"{clean(path)}: is damaged: {clean(' '.join(str(found).split()))}", LEFT)


def _any(connection: "Connection", table: str) -> bool:
    """Whether a table has a row."""
    from sqlalchemy import text

    return connection.execute(text(f"SELECT 1 FROM {table} LIMIT 1")).first() is not None


def _check_file(path: Path) -> None:
    """Raises: StorageError: there can be no database of ours; nothing was touched."""
    shown = clean(path)
    if not path.parent.is_dir():
        raise StorageError(f"{shown}: there is no folder {clean(path.parent)}", "make it, or choose another --storage")
    if path.exists() and not path.is_file():
        raise StorageError(f"{shown}: is not a file", "choose another --storage")
    # By name, not by opening it: to close a file drops all locks that SQLite has on it in this process.
    if path.exists() and not os.access(path, os.R_OK | os.W_OK):
        raise StorageError(f"{shown}: is read-only for you", "change its mode, or choose another --storage")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise StorageError(f"{shown}: its folder is read-only for you", "a study writes files beside its database")


def _has_content(path: Path) -> bool:
    return path.exists() and path.stat().st_size > 0


def _create_file(place: Place, say: Callable[[str], None]) -> None:
    """Make a database beside its place, and rename it, so that whoever is killed meanwhile leaves no half of one."""
    from d2lcli.training.files import sync_directory

    assert place.file is not None
    beside = place.file.with_name(f"{place.file.name}.new")

    def connect() -> sqlite3.Connection:
        connection = sqlite3.connect(beside, isolation_level=None)
        connection.executescript("PRAGMA journal_mode = MEMORY; PRAGMA synchronous = OFF")  # it is synced below, once
        return connection

    release = hold_file(place.file, say)
    try:
        if _has_content(place.file):  # another process was faster
            return
        beside.unlink(missing_ok=True)
        url, options = _arguments(place, 1.0)
        engine = _optuna(url, options | {"creator": connect}).engine
        tables().metadata.create_all(engine)
        engine.dispose()
        descriptor = os.open(beside, os.O_RDONLY | os.O_CLOEXEC)
        os.fsync(descriptor)
        os.close(descriptor)
        os.replace(beside, place.file)
        sync_directory(place.file.parent)
    finally:
        beside.unlink(missing_ok=True)
        release()


def _arguments(place: Place, timeout: float) -> tuple[str, dict[str, Any]]:
    """For an engine: on a server, or on a file of whatever name, that is not made anew where it has gone."""
    from sqlalchemy.pool import QueuePool

    if place.file is None:
        # A worker needs two connections at most times, for the lock and for what is written; servers have few to give.
        options = {"pool_size": 2, "max_overflow": 4, "pool_pre_ping": True}
        return place.url, options | {"connect_args": {"connect_timeout": 10, "application_name": "d2l"}}
    connect = partial(
        sqlite3.connect,
        f"file:{quote(os.fsencode(place.file))}?mode=rw",
        uri=True,
        timeout=timeout,
        isolation_level=None,  # transactions begin where we say so
        check_same_thread=False,
    )
    return "sqlite:///study", {"creator": connect, "poolclass": QueuePool}


def _optuna(url: str, options: dict[str, Any], *, complete: bool = False) -> "RDBStorage":
    """Optuna's storage; its tables are made unless they are complete."""
    from optuna.storages import RDBStorage

    template = url.replace("{", "{{").replace("}", "}}")
    return RDBStorage(template, dict(options), skip_compatibility_check=True, skip_table_creation=complete)


def _hold(place: Place, engine: "Engine", key: int, say: Callable[[str], None]) -> Callable[[], None]:
    if place.file is not None:
        return hold_file(place.file, say)
    return hold_advisory(engine, key, place.shown, say)


def _read(engine: "Engine", action: "Callable[[Connection], T]") -> T:
    with engine.connect() as connection:
        return action(connection.execution_options(reading=True))


def _listen(engine: "Engine", file: bool) -> None:
    """Let a transaction take SQLite's lock at its beginning, later it could fail half-way; and let an error of the
    database end it: SQLite takes a transaction back when a disk is full, and Optuna would go on without it."""
    from sqlalchemy import event
    from sqlalchemy.exc import DataError, IntegrityError, ProgrammingError

    def begin(connection: "Connection") -> None:
        if not connection.get_execution_options().get("reading"):
            connection.exec_driver_sql("BEGIN IMMEDIATE")

    def fail(context: "ExceptionContext") -> BaseException | None:
        mild = isinstance(context.sqlalchemy_exception, (DataError, IntegrityError, ProgrammingError))
        return None if mild or context.is_pre_ping else DriverError(context.original_exception)

    event.listen(engine, "handle_error", fail)
    if file:
        event.listen(engine, "begin", begin)


def _require_psycopg() -> None:
    """Raises: StorageError: there is no driver for PostgreSQL."""
    try:
        import psycopg  # noqa: F401
    except ImportError:
        raise StorageError("a postgresql:// storage needs psycopg", "pip install 'd2lcli[postgres]'") from None

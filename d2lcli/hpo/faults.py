"""What can go wrong with the database of a study: what is worth another try, and what to say of the rest."""

import sqlite3
import time
from collections.abc import Callable
from random import random
from typing import TypeVar

from d2lcli.errors import D2LError, clean
from d2lcli.hpo.place import Place

T = TypeVar("T")
WARN = 10.0  # seconds of waiting until a person is told
LEFT = "it was left as it is; put a copy in its place, or choose another --storage"
OTHER = "nothing was changed; choose another --storage"
GO_ON = "nothing is lost; go on with: d2l hpo --resume"
WORDS = {  # SQLite's code -> what is wrong, what to do
    sqlite3.SQLITE_BUSY: ("is locked by another program", f"end the program that uses it; {GO_ON}"),
    sqlite3.SQLITE_LOCKED: ("is locked by another program", f"end the program that uses it; {GO_ON}"),
    sqlite3.SQLITE_CORRUPT: ("is damaged", LEFT),
    sqlite3.SQLITE_NOTADB: ("is damaged, or is no SQLite database", LEFT),
    sqlite3.SQLITE_FULL: ("the disk is full", f"make room; {GO_ON}"),
    sqlite3.SQLITE_READONLY: ("cannot be written", f"let it be writable, with its folder; {GO_ON}"),
    sqlite3.SQLITE_CANTOPEN: ("cannot be opened", f"look whether it is still there; {GO_ON}"),
    sqlite3.SQLITE_IOERR: ("cannot be read or written: the disk fails", GO_ON),
}


class StorageError(D2LError):
    """The database of a study cannot be used."""


class LockedError(StorageError):
    """Another program did not let go of the database in time."""


class DriverError(Exception):
    """A database has failed in the middle of a transaction.  Optuna knows no such error, and so does not try again.

    Args:
        origin: what the driver said.
    """

    def __init__(self, origin: BaseException) -> None:
        super().__init__(str(origin))
        self.origin = origin


def patiently(place: Place, say: Callable[[str], None], patience: float, action: Callable[[], T]) -> T:
    """Do something, again and again while another program locks the database, or its server is away.

    Args:
        place: of the database, for messages.
        say: prints one line; told once, after some seconds.
        patience: seconds after which to give up.
        action: what to do; it must be harmless to do it twice.

    Raises:
        StorageError: it could not be done.
    """
    begun, pause, told = time.monotonic(), 0.02, False
    while True:
        try:
            return action()
        except Exception as error:
            spent = time.monotonic() - begun
            if not _may_pass(error, place) or spent >= patience:
                raise explain(error, place) from None
        if spent > WARN and not told:
            told = True
            say(f"{place.shown}: is locked by another program or away; waiting for it, up to {patience:g} s")
        time.sleep(pause * (0.5 + random()))
        pause = min(2 * pause, 1.0)


def explain(error: Exception, place: Place) -> Exception:
    """An error of a database as one line for people; any other error is returned as it is."""
    cause = _cause(error)
    if isinstance(cause, OSError):
        return StorageError(f"{place.shown}: {clean(cause.strerror or cause)} ({clean(cause.filename or '')})", OTHER)
    if isinstance(cause, sqlite3.Error):
        words, hint = WORDS.get(_code(cause), (clean(cause), OTHER))
        return (LockedError if _may_pass(error, place) else StorageError)(f"{place.shown}: {words}", hint)
    if place.file is None and _of_server(cause):
        text = " ".join(str(cause).split())
        for secret in place.secrets:
            text = text.replace(secret, "***")
        return StorageError(
            f"{place.shown}: {clean(text, 400)}", "check the server, and user, host and name in the URL"
        )
    return error


def _may_pass(error: Exception, place: Place) -> bool:
    """Whether the same may work a moment later."""
    cause = _cause(error)
    if isinstance(cause, sqlite3.Error):
        return _code(cause) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
    if place.file is not None or not _of_server(cause):
        return False
    from psycopg.errors import InterfaceError, OperationalError, UniqueViolation

    # Who wrote the same row a moment earlier will be seen by the next try.
    return isinstance(cause, (InterfaceError, OperationalError, UniqueViolation))


def _cause(error: Exception) -> BaseException:
    """The driver's own error, beneath those of Optuna and SQLAlchemy."""
    from optuna.exceptions import StorageInternalError
    from sqlalchemy.exc import DBAPIError

    cause: BaseException = error
    if isinstance(cause, StorageInternalError) and cause.__cause__ is not None:
        cause = cause.__cause__
    if isinstance(cause, DBAPIError) and cause.orig is not None:
        return cause.orig
    return cause.origin if isinstance(cause, DriverError) else cause


def _code(error: sqlite3.Error) -> int:
    """SQLite's code without its details; Python's own errors have none."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def _of_server(error: BaseException) -> bool:
    from psycopg import Error

    return isinstance(error, Error)

"""Locks that all workers of a study share, and that the kernel or the server frees when their holder is killed."""

import fcntl
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from d2lcli.errors import clean

if TYPE_CHECKING:
    from sqlalchemy import Engine

WARN = 10.0  # seconds of waiting until a person is told
CLASS = 0x64326C  # "d2l": the first half of the key of a lock on a server
# A holder whose machine has lost its power is found by its silence within a minute, not after two hours.
TAKE = """
SELECT set_config('statement_timeout', '0', false), set_config('lock_timeout', '0', false),
       set_config('tcp_keepalives_idle', '30', false), set_config('tcp_keepalives_interval', '10', false),
       set_config('tcp_keepalives_count', '3', false), pg_try_advisory_lock(:class, :key)
"""


def hold_file(path: Path, say: Callable[[str], None]) -> Callable[[], None]:
    """Wait for the lock beside a file, and hold it.  It excludes other threads of this process as well.

    Args:
        path: of the file; the lock is `<path>.lock`, which stays there.
        say: prints one line; told once, after some seconds.

    Returns:
        What lets go of it.

    Raises:
        OSError: the lock cannot be made.
    """
    name = f"{path}.lock"
    descriptor = os.open(name, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            with _telling(say, f"waiting for {clean(name)}, which another process holds"):
                fcntl.flock(descriptor, fcntl.LOCK_EX)
    except BaseException:
        os.close(descriptor)
        raise
    return lambda: os.close(descriptor)


def hold_advisory(engine: "Engine", key: int, shown: str, say: Callable[[str], None]) -> Callable[[], None]:
    """Wait for a lock of PostgreSQL, and hold it on a connection of its own.

    Args:
        engine: of the database.
        key: which lock.
        shown: the database, for messages.
        say: prints one line; told once, after some seconds.

    Returns:
        What lets go of it.

    Raises:
        SQLAlchemyError, DriverError: the server is away.
    """
    from sqlalchemy import text

    words = {"class": CLASS, "key": key}
    connection = engine.connect().execution_options(isolation_level="AUTOCOMMIT")
    try:
        if not connection.execute(text(TAKE), words).one()[-1]:
            with _telling(say, f"waiting for the lock of a study in {shown}, which another process holds"):
                connection.execute(text("SELECT pg_advisory_lock(:class, :key)"), words)
    except BaseException:
        connection.invalidate()
        connection.close()
        raise

    def release() -> None:
        try:
            connection.execute(text("SELECT pg_advisory_unlock(:class, :key)"), words)
        except Exception:  # the server has freed it already, with the connection
            connection.invalidate()
        connection.close()

    return release


@contextmanager
def _telling(say: Callable[[str], None], line: str) -> Iterator[None]:
    """Say that something takes long, if it does."""
    timer = threading.Timer(WARN, say, [line])
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()

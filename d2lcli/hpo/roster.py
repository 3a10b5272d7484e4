"""Who works on a study, and whether it is alive: its process at once where it is on this machine, else signs of life.

Clocks of machines differ, so no time is ever compared with one of another machine: a reader watches a counter.
"""

import os
import socket
import time
from collections.abc import Callable, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

from d2lcli.errors import clean
from d2lcli.hpo.tables import tables

if TYPE_CHECKING:
    from sqlalchemy import Connection, Row

    from d2lcli.hpo.database import Database


class Roster:
    """The workers of a study, as one reader sees them.

    Args:
        database: where they are written down.
        study: the key of its row.
        clock: in seconds; of this machine, and never set back.
    """

    def __init__(self, database: "Database", study: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._database, self._study, self._clock = database, study, clock
        self._seen: dict[str, tuple[int, float]] = {}  # a worker's counter, and when it was first seen at that count

    def enter(self, worker: str, grace: float) -> None:
        """This process begins to work."""
        values = {
            "study": self._study, "worker": worker, "host": clean(socket.gethostname()), "home": home(),
            "pid": os.getpid(), "started": started(os.getpid()), "beat": 0, "grace": grace, "quit": False,
        }  # fmt: skip

        def write(connection: "Connection") -> None:
            connection.execute(tables().workers.delete().where(self._is(worker)))
            connection.execute(tables().workers.insert().values(values))

        self._database.write(write)

    def beat(self, worker: str) -> None:
        """A sign of life."""
        self._change(worker, {"beat": tables().workers.c.beat + 1})

    def leave(self, worker: str) -> None:
        """A worker ends."""
        self._change(worker, {"quit": True})

    def lost(self) -> list[str]:
        """Those who have left, are dead, or are silent for longer than their grace."""
        from sqlalchemy import select

        workers = tables().workers
        query = select(workers).where(workers.c.study == self._study).order_by(workers.c.worker)
        rows = self._database.read(lambda connection: connection.execute(query).all())
        return [row.worker for row in rows if row.quit or not self._lives(row)]

    def _lives(self, row: "Row[Any]") -> bool:
        if row.home and row.home == home():
            return runs(row.pid, row.started)
        now = self._clock()
        count, since = self._seen.get(row.worker, (None, now))
        if count != row.beat:
            self._seen[row.worker] = (row.beat, now)
            return True
        return bool(now - since <= row.grace)

    def _is(self, worker: str) -> Any:
        columns = tables().workers.c
        return (columns.study == self._study) & (columns.worker == worker)

    def _change(self, worker: str, values: Mapping[str, Any]) -> None:
        change = tables().workers.update().where(self._is(worker)).values(values)
        self._database.write(lambda connection: connection.execute(change))


@cache
def home() -> str:
    """This boot of this machine, and its room of process numbers; empty where it cannot be told."""
    try:
        with open("/proc/sys/kernel/random/boot_id") as file:
            return f"{file.read().strip()} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""


def started(pid: int) -> str:
    """When a process was started, in ticks since the boot: that and its number tell it from all others.

    Empty where there is no such process, or only what is left of it until its parent asks.
    """
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()  # the name before it may hold spaces and brackets
    except OSError:
        return ""
    return "" if fields[0] in (b"Z", b"X") else fields[19].decode()


def runs(pid: int, since: str) -> bool:
    """Whether the process of this number that was started at `since` still runs, on this machine."""
    found = started(pid)
    if found or os.path.exists(f"/proc/{pid}"):
        return found == since
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True  # another user's, which /proc may hide
    except ProcessLookupError:
        return False
    return started(pid) == since

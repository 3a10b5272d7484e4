"""Persistent studies on a PostgreSQL server: what every storage must do, and what can happen to a server.

The server is a real one, in a temporary folder, for these tests alone.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from studies import (
    NAME,
    StorageContract,
    append,
    assert_mirrored,
    assert_whole,
    begin,
    first,
    ignore,
    open_storage,
    play,
    quiet,
)

from d2lcli.hpo.events import Event
from d2lcli.hpo.faults import StorageError
from d2lcli.hpo.storage import StaleError

psycopg = pytest.importorskip("psycopg", reason="psycopg is not installed: pip install 'd2lcli[postgres]'")

USER = 65534  # nobody: the server refuses to be run by root


class Server:
    """A server that listens on a socket in its folder alone, and asks for no password there."""

    def __init__(self, folder: Path, programs: Path) -> None:
        self.folder, self._programs = folder, programs
        self._run("initdb", "-D", f"{folder}/data", "-U", "d2l", "-A", "trust", "--no-sync", "-E", "UTF8", "--locale=C")
        self.start()
        self.execute("postgres", "CREATE DATABASE d2l")

    def start(self) -> None:
        options = f"-k {self.folder} -c listen_addresses='' -c fsync=off -c max_connections=60"
        self._run("pg_ctl", "start", "-D", f"{self.folder}/data", "-w", "-l", f"{self.folder}/log", "-o", options)

    def stop(self) -> None:
        self._run("pg_ctl", "stop", "-D", f"{self.folder}/data", "-m", "immediate")

    def empty_database(self) -> str:
        """The URL of the database, in which nothing is left; a new one for each test would be many more files."""
        self.execute("d2l", "DROP SCHEMA public CASCADE")
        self.execute("d2l", "CREATE SCHEMA public")
        return self.url("d2l")

    def url(self, database: str) -> str:
        return f"postgresql://d2l@/{database}?host={self.folder}"

    def execute(self, database: str, statement: str) -> None:
        with psycopg.connect(host=str(self.folder), user="d2l", dbname=database, autocommit=True) as connection:
            connection.execute(statement)

    def _run(self, program: str, *words: str) -> None:
        other = ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups"] if os.getuid() == 0 else []
        command = [*other, str(self._programs / program), *words]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=self.folder)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    found = shutil.which("initdb") or next(map(str, sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))), None)
    if found is None:
        pytest.skip("there is no PostgreSQL server here: apt-get install postgresql")
    folder = Path(tempfile.mkdtemp(prefix="d2l-pg-"))
    if os.getuid() == 0:
        os.chown(folder, USER, USER)
    made = Server(folder, Path(found).resolve().parent)
    yield made
    made.stop()
    shutil.rmtree(folder)


class TestServer(StorageContract):
    """A database with no tables."""

    @pytest.fixture
    def url(self, server: Server) -> str:
        return server.empty_database()


def test_eight_processes_may_begin_a_study_at_the_same_moment(server: Server) -> None:
    url = server.empty_database()
    assert play("crowd", url, "3", "8")["codes"] == [0] * 8
    assert_whole(open_storage(url, say=quiet).log(NAME).read(), 3)


def test_a_server_that_goes_away_for_a_moment_is_waited_for(server: Server) -> None:
    url = server.empty_database()
    _, log = begin(url)
    append(log, first(0))
    server.stop()
    timer = threading.Timer(1.0, server.start)
    timer.start()
    append(log, first(1), Event("report", 0, 0, 1.0, 0.5))
    timer.join()
    events = begin(url)[1].read()
    assert [event.kind for event in events] == ["start", "start", "report"]
    assert_mirrored(url, events)


def test_who_has_lost_the_lock_cannot_write_over_another(server: Server) -> None:
    url = server.empty_database()
    _, one = begin(url)
    _, two = begin(url)
    append(one, first(0))
    with one.locked():
        one.read()
        end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> "
        server.execute("d2l", f"{end} pg_backend_pid()")
        append(two, first(1))
        with pytest.raises(StaleError):
            one.append(first(1, time=1.0))
    assert len(begin(url)[1].read()) == 2
    append(one, first(2))
    assert_mirrored(url, begin(url)[1].read())


def test_an_event_that_was_written_before_the_connection_broke_is_not_written_twice(server: Server) -> None:
    url = server.empty_database()
    _, log = begin(url)
    with log.locked():
        log.append(first(0))
        log._known = 0  # as after an error: the answer to a commit never came
        log.append(first(0))
    events = log.read()
    assert events == [first(0)]
    assert_mirrored(url, events)


def test_two_writers_without_a_lock_do_not_write_the_same_number(server: Server) -> None:
    url = server.empty_database()
    logs = [begin(url, say=ignore)[1] for _ in range(4)]
    wrong: list[Exception] = []
    written: list[int] = []

    def write(number: int) -> None:
        for turn in range(10):
            logs[number]._held = True  # as if the lock had failed
            try:
                logs[number].read()
                logs[number].append(Event("release", 0, worker=str(number), time=float(turn)))
                written.append(number)
            except StaleError:
                continue
            except Exception as error:
                wrong.append(error)

    append(logs[0], first(0))
    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert wrong == []
    events = begin(url, say=ignore)[1].read()
    assert len(events) == 1 + len(written)
    assert len({(event.worker, event.time) for event in events}) == len(events)


def test_a_server_that_is_not_there_is_told_at_once_and_without_the_password(tmp_path: Path) -> None:
    begun = time.monotonic()
    for url in (
        f"postgresql://me:hunter2@/db?host={tmp_path}",
        "postgresql://me:hunter2@127.0.0.1:1/db?connect_timeout=2",
        "postgresql://me@127.0.0.1:1/db?password=hunter2&connect_timeout=2",
        "postgresql://me:hunter2@127.0.0.1:1/db?sslmode=hunter2",
    ):
        with pytest.raises(StorageError) as caught:
            open_storage(url, say=quiet)
        error = caught.value
        assert error.exit_code == 1 and error.hint and "\n" not in error.message
        assert error.message.startswith("postgresql://me@")
        assert "hunter2" not in f"{error.message}{error.hint}{error.__cause__}"
    assert time.monotonic() - begun < 10


def test_a_database_that_is_not_there_is_named(server: Server) -> None:
    with pytest.raises(StorageError, match='database "missing" does not exist'):
        open_storage(server.url("missing"), say=quiet)


def test_the_database_of_another_program_is_left_as_it_is(server: Server) -> None:
    url = server.empty_database()
    server.execute("d2l", "CREATE TABLE alembic_version (version_num TEXT)")
    with pytest.raises(StorageError, match="is the database of another program"):
        open_storage(url, say=quiet)
    server.execute("d2l", "DROP TABLE alembic_version")
    server.execute("d2l", "CREATE TABLE others (n INTEGER)")  # but tables of other names may be there
    append(begin(url)[1], first(0))


def test_a_schema_of_another_version_is_refused(server: Server) -> None:
    url = server.empty_database()
    begin(url)
    server.execute("d2l", "UPDATE alembic_version SET version_num = 'v2.6.0.a'")
    with pytest.raises(StorageError, match=r"are of version v2\.6\.0\.a"):
        open_storage(url, say=quiet)


def test_without_a_driver_it_is_told_how_to_get_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(StorageError, match="needs psycopg") as caught:
        open_storage("postgresql://me@localhost/db", say=quiet)
    assert caught.value.hint == "pip install 'd2lcli[postgres]'"

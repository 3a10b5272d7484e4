"""Persistent studies in an SQLite file: what every storage must do, and what can happen to a file."""

import hashlib
import json
import os
import pickle
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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
    optuna_trials,
    play,
    quiet,
)

from d2lcli.errors import ConfigError
from d2lcli.hpo import faults, roster
from d2lcli.hpo.events import Event
from d2lcli.hpo.faults import LockedError, StorageError
from d2lcli.hpo.space import Choice, Space
from d2lcli.hpo.storage import open_storage


class TestFile(StorageContract):
    """A file that is not there yet."""

    @pytest.fixture
    def url(self, tmp_path: Path) -> str:
        return f"sqlite:///{tmp_path / 'study.db'}"


def test_a_help_page_need_not_wait_for_a_database() -> None:
    program = (
        "import sys, d2lcli.hpo.storage; print([name for name in ('optuna', 'sqlalchemy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_eight_processes_may_begin_a_study_at_the_same_moment(tmp_path: Path) -> None:
    crowds(tmp_path, rounds=10)


@pytest.mark.slow
def test_eight_processes_may_begin_a_study_at_the_same_moment_again_and_again(tmp_path: Path) -> None:
    crowds(tmp_path, rounds=100)


def crowds(folder: Path, rounds: int) -> None:
    processes = [2 if number % 2 else 8 for number in range(rounds)]
    played = play("crowd", f"sqlite:///{folder}/*.db", "3", *map(str, processes), seconds=600)
    assert played["codes"] == [0] * sum(processes)
    for number in range(rounds):
        assert_whole(open_storage(f"sqlite:///{folder}/{number}.db", say=quiet).log(NAME).read(), 3)


@pytest.mark.parametrize(
    "name", ["a b.db", "50%.db", "what?.db", "no#1.db", "{SCHEMA_VERSION}.db", "a&mode=ro.db", "é.db"]
)
def test_a_file_may_have_any_name(tmp_path: Path, name: str) -> None:
    append(begin(f"sqlite:///{tmp_path / name}")[1], first(0))
    assert sorted(path.name for path in tmp_path.iterdir()) == [name, f"{name}.lock"]
    assert len(begin(f"sqlite:///{tmp_path / name}")[1].read()) == 1


def test_a_start_that_was_killed_leaves_nothing_that_is_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "study.db.new").write_bytes(b"half of a database")
    (tmp_path / "study.db").touch()
    append(begin(f"sqlite:///{tmp_path / 'study.db'}")[1], first(0))
    assert not (tmp_path / "study.db.new").exists()


def test_choices_that_optuna_cannot_hold_are_shown_as_text(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'study.db'}"
    space: Space = {"hidden": Choice(([8], [8, 8])), "same": Choice((1, 1.0, True)), "none": Choice((None, "a", 2.5))}
    storage = open_storage(url, say=quiet)
    storage.join(NAME, {}, space, "min")
    log = storage.log(NAME)
    config = {"hidden": [8, 8], "same": True, "none": None}
    append(log, Event("start", 0, config=config))
    assert optuna_trials(url)[0].params == {"hidden": "[8, 8]", "same": "true", "none": None}
    assert log.read()[0].config is None or open_storage(url, say=quiet).log(NAME).read()[0].config == config


def test_a_database_that_is_locked_for_some_seconds_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(faults, "WARN", 1.0)
    lines: list[str] = []
    _, log = begin(f"sqlite:///{tmp_path / 'study.db'}", say=lines.append)
    append(log, first(0))
    with locking(tmp_path / "study.db") as let_go:
        threading.Timer(3.0, let_go).start()
        begun = time.monotonic()
        append(log, first(1), Event("report", 0, 0, 1.0, 0.5))
        assert time.monotonic() - begun > 2.5
    assert len(lines) == 1 and "study.db: is locked by another program" in lines[0]
    assert len(log.read()) == 1
    assert len(optuna_trials(f"sqlite:///{tmp_path / 'study.db'}")) == 2


def test_a_database_that_stays_locked_ends_a_worker_and_loses_nothing(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'study.db'}"
    begin(url)
    log = open_storage(url, say=quiet, patience=0.5).log(NAME)
    append(log, first(0))
    with locking(tmp_path / "study.db"):
        for use in (
            lambda: append(log, Event("report", 0, 0, 1.0, 0.5)),
            lambda: log.beat("me"),
            lambda: open_storage(url, say=quiet, patience=0.5),
        ):
            with pytest.raises(LockedError, match=r"study\.db: is locked by another program") as caught:
                use()
            assert caught.value.exit_code == 1 and "nothing is lost" in caught.value.hint
    append(log, Event("report", 0, 0, 1.0, 0.5))
    events = begin(url)[1].read()
    assert [event.kind for event in events] == ["start", "report"]
    assert_mirrored(url, events)


def test_a_reader_that_keeps_a_file_does_not_lose_events(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'study.db'}"
    _, log = begin(url)
    reader = sqlite3.connect(tmp_path / "study.db", isolation_level=None, check_same_thread=False)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM trials").fetchall()
    threading.Timer(2.0, reader.rollback).start()
    append(log, first(0))
    assert_mirrored(url, log.read() or begin(url)[1].read())
    reader.close()


@contextmanager
def locking(path: Path) -> Iterator[Callable[[], None]]:
    """Another program that writes; what is yielded ends it before the block does."""
    other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN EXCLUSIVE")
    try:
        yield other.rollback
    finally:
        other.close()


def test_a_full_disk_is_told_and_loses_nothing(tmp_path: Path) -> None:
    from sqlalchemy import event

    url = f"sqlite:///{tmp_path / 'study.db'}"
    storage, log = begin(url)
    append(log, first(0))
    engine = storage._database.rdb.engine

    def limit(connection: sqlite3.Connection, *rest: object) -> None:
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {pages}")

    event.listen(engine, "checkout", limit)
    with pytest.raises(StorageError, match=r"study\.db: the disk is full"):
        for number in range(1, 200):
            append(log, first(number))
    event.remove(engine, "checkout", limit)
    events = begin(url)[1].read()
    assert 1 <= len(events) == number
    again = begin(url)[1]
    append(again, first(number))
    assert_mirrored(url, [*events, first(number)])


def study_file(path: Path) -> None:
    """A study as it should be."""
    append(begin(f"sqlite:///{path}")[1], *(first(number) for number in range(20)))


def text_file(path: Path) -> None:
    path.write_text("trials: 12\n" * 500)


def truncated(path: Path) -> None:
    study_file(path)
    os.truncate(path, path.stat().st_size - 100)


def overwritten(path: Path) -> None:
    study_file(path)
    with open(path, "r+b") as file:
        file.seek(4096)
        file.write(b"\x5a" * 40960)


def only_a_head(path: Path) -> None:
    path.write_bytes(b"SQLite format 3\0")


def statements(path: Path, *lines: str) -> None:
    with sqlite3.connect(path) as connection:
        for line in lines:
            connection.execute(line)
    connection.close()


def another_programs(path: Path) -> None:
    statements(path, "CREATE TABLE bookmarks (url TEXT)", "INSERT INTO bookmarks VALUES ('https://d2l.ai')")


def another_alembic_programs(path: Path) -> None:
    statements(path, "CREATE TABLE alembic_version (version_num TEXT)", "CREATE TABLE studies (name TEXT)")


def old_optuna(path: Path) -> None:
    study_file(path)
    statements(path, "UPDATE alembic_version SET version_num = 'v2.6.0.a'")


def unstamped_optuna(path: Path) -> None:
    study_file(path)
    statements(path, "DELETE FROM alembic_version")


def future_optuna(path: Path) -> None:
    study_file(path)
    statements(path, "UPDATE alembic_version SET version_num = 'v9.0.0.a'")


def another_d2l(path: Path) -> None:
    study_file(path)
    statements(path, "ALTER TABLE d2l_events DROP COLUMN reason")


def another_format(path: Path) -> None:
    study_file(path)
    statements(path, "UPDATE d2l_studies SET format = 2")


def damaged_spec(path: Path) -> None:
    study_file(path)
    statements(path, "UPDATE d2l_studies SET spec = '{\"trials\": '")


def missing_events(path: Path) -> None:
    study_file(path)
    statements(path, "DELETE FROM d2l_events WHERE number = 7")


def strange_events(path: Path) -> None:
    study_file(path)
    statements(path, "UPDATE d2l_events SET kind = 'stop' WHERE number = 7")


BROKEN = {
    text_file: "is damaged, or is no SQLite database",
    truncated: "is damaged",
    overwritten: "is damaged",
    only_a_head: "is damaged",
    another_programs: "is the database of another program",
    another_alembic_programs: "is the database of another program",
    old_optuna: r"are of version v2\.6\.0\.a",
    unstamped_optuna: "of an unknown version",
    future_optuna: r"are of version v9\.0\.0\.a",
    another_d2l: "table d2l_events is of another version of d2l",
    another_format: "is of another version of d2l",
    damaged_spec: "the study 'study' is damaged",
    missing_events: "events missing after 0",
    strange_events: "the kind of event 7 is 'stop'",
}


@pytest.mark.parametrize("make", BROKEN, ids=lambda make: make.__name__)
def test_a_file_that_is_not_right_is_named_and_left_as_it_is(tmp_path: Path, make: Callable[[Path], None]) -> None:
    path = tmp_path / "study.db"
    make(path)
    (tmp_path / "study.db.lock").unlink(missing_ok=True)
    before = hashlib.sha256(path.read_bytes()).hexdigest()
    with pytest.raises(StorageError, match=BROKEN[make]) as caught:
        begin(f"sqlite:///{path}")[1].read()
    assert caught.value.exit_code == 1 and caught.value.hint
    assert caught.value.message.startswith(f"{path}: ") and "\n" not in caught.value.message
    assert hashlib.sha256(path.read_bytes()).hexdigest() == before
    assert [each.name for each in tmp_path.iterdir()] == ["study.db"]


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="there is no folder"):
        open_storage(f"sqlite:///{tmp_path / 'missing' / 'study.db'}", say=quiet)
    with pytest.raises(StorageError, match="is not a file"):
        open_storage(f"sqlite:///{tmp_path}", say=quiet)
    with pytest.raises(StorageError, match="is not a file"):
        open_storage("sqlite:////dev/null", say=quiet)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("only_folder", [False, True], ids=["file", "folder"])
def test_what_may_not_be_written_is_refused(only_folder: bool) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        study_file(folder / "study.db")
        (folder / "study.db.lock").unlink()
        before = (folder / "study.db").read_bytes()
        (folder / "study.db").chmod(0o666 if only_folder else 0o444)
        folder.chmod(0o555 if only_folder else 0o777)
        words = "its folder is read-only" if only_folder else "study.db: is read-only"
        with common_user(), pytest.raises(StorageError, match=words):
            open_storage(f"sqlite:///{folder / 'study.db'}", say=quiet)
        assert (folder / "study.db").read_bytes() == before and len(list(folder.iterdir())) == 1
        folder.chmod(0o777)


@contextmanager
def common_user() -> Iterator[None]:
    """Root may write everywhere, so be somebody else within this block."""
    real, effective, saved = os.getresuid()
    if real == 0:
        os.setresuid(65534, 65534, 0)
    try:
        yield
    finally:
        os.setresuid(real, effective, saved)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("study.db", "is no URL"),
        ("", "is no URL"),
        ("mysql://root@localhost/d2l", "'mysql' is no kind of database"),
        ("redis://localhost", "'redis' is no kind"),
        ("sqlite://", "must be a file"),
        ("sqlite:///", "must be a file"),
        ("sqlite:///:memory:", "must be a file"),
        ("sqlite://study.db", "must be a file"),
        ("sqlite:///file:study.db?mode=memory", "must be a file"),
        ("postgresql://me:secret@host:port/name", "cannot be read"),
    ],
)
def test_a_url_of_another_kind_is_a_mistake_of_usage(url: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        open_storage(url, say=quiet)
    assert caught.value.exit_code == 2
    assert "secret" not in f"{caught.value}{caught.value.hint}"


def test_a_study_that_is_not_there_has_no_log(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="the study 'other' is not there"):
        begin(f"sqlite:///{tmp_path / 'study.db'}")[0].log("other")


def test_a_file_that_is_taken_away_is_not_made_anew(tmp_path: Path) -> None:
    _, log = begin(f"sqlite:///{tmp_path / 'study.db'}", say=ignore)
    log._database.rdb.engine.dispose()
    (tmp_path / "study.db").unlink()
    with pytest.raises(StorageError, match="cannot be opened"):
        append(log, first(0))
    assert not (tmp_path / "study.db").exists()


class Trap:
    """Touches a file when it is unpickled."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[[str], object], tuple[str]]:
        return os.mkdir, (self.path,)


def test_no_pickle_is_read_from_a_storage(tmp_path: Path) -> None:
    path, marker = tmp_path / "study.db", tmp_path / "marker"
    study_file(path)
    bait = json.dumps(pickle.dumps(Trap(str(marker))).hex())
    lines = [
        f"INSERT INTO {table} ({owner}, key, value_json) VALUES (1, '{key}', '{bait}')"
        for table, owner in (
            ("trial_system_attributes", "trial_id"),
            ("trial_user_attributes", "trial_id"),
            ("study_system_attributes", "study_id"),
        )
        for key in ("cma:optimizer:0", "popsize", "cma:0")
    ]
    statements(path, *lines)
    _, log = begin(f"sqlite:///{path}")
    append(log, Event("report", 0, 0, 1.0, 0.5), first(20))
    with log.locked():
        log.settle()
    assert len(optuna_trials(f"sqlite:///{path}")) == 21
    assert not marker.exists()


def test_the_number_of_a_process_that_was_given_again_does_not_revive_a_worker(tmp_path: Path) -> None:
    _, log = begin(f"sqlite:///{tmp_path / 'study.db'}")
    log.enter("me")
    assert log.lost() == []
    statements(tmp_path / "study.db", "UPDATE d2l_workers SET started = started - 1")
    assert log.lost() == ["me"]


def test_a_worker_of_another_machine_is_lost_when_its_counter_stands_still(tmp_path: Path) -> None:
    storage, log = begin(f"sqlite:///{tmp_path / 'study.db'}")
    log.enter("far", grace=60.0)
    statements(tmp_path / "study.db", "UPDATE d2l_workers SET home = 'another boot', pid = 1")
    clock = [1000.0]
    reader = roster.Roster(storage._database, 1, clock=lambda: clock[0])
    assert reader.lost() == []
    clock[0] += 59
    assert reader.lost() == []
    log.beat("far")
    for _ in range(5):  # as long as it counts, it lives
        clock[0] += 59
        assert reader.lost() == []
        log.beat("far")
    assert reader.lost() == []
    clock[0] += 61
    assert reader.lost() == ["far"]
    log.beat("far")  # it was only slow
    assert reader.lost() == []
    newcomer = roster.Roster(storage._database, 1, clock=lambda: clock[0])
    assert newcomer.lost() == []  # who has not watched cannot tell


def test_a_process_is_told_by_its_start() -> None:
    own = roster.started(os.getpid())
    assert own.isdigit() and roster.runs(os.getpid(), own)
    assert not roster.runs(os.getpid(), str(int(own) + 1))
    child = subprocess.Popen([sys.executable, "-c", "pass"])
    since = roster.started(child.pid)
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert not roster.runs(child.pid, since)  # a zombie
    child.wait()
    assert not roster.runs(child.pid, since)

"""What every storage of studies must do, and the processes that try it: `python studies.py crowd|kills URL ...`."""

import json
import os
import random as rng
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from d2lcli.errors import ConfigError
from d2lcli.hpo.asha import asha
from d2lcli.hpo.events import Event
from d2lcli.hpo.random import random
from d2lcli.hpo.search import Search
from d2lcli.hpo.space import Choice, Float, Int, Space
from d2lcli.hpo.storage import Log, StaleError, Storage, open_storage

SPACE: Space = {"optim.lr": Float(1e-4, 1.0, log=True), "size": Int(1, 9), "optim": Choice(("sgd", "adam"))}
NAME = "study"


def quiet(line: str) -> None:
    """A `say` for tests in which nothing is to be said."""
    raise AssertionError(line)


def ignore(line: str) -> None:
    """A `say` for tests in which it does not matter."""


def begin(url: str, mode: str = "min", say: Callable[[str], None] = quiet) -> tuple[Storage, Log]:
    storage = open_storage(url, say=say)
    storage.join(NAME, {"trials": 9}, SPACE, mode)
    return storage, storage.log(NAME)


def append(log: Log, *events: Event, last: bool = False) -> None:
    """Append events one by one, each as a worker would."""
    for event in events:
        with log.locked():
            log.read()
            log.append(event, last=last)


def config(number: int) -> dict[str, Any]:
    return {"optim.lr": 0.5 / (number + 1), "size": 1 + number % 9, "optim": "adam"}


def first(trial: int, **fields: Any) -> Event:
    """The first start of a trial."""
    return Event("start", trial, 0, 1.0, config=config(trial), worker="w", **fields)


def optuna_trials(url: str) -> list[Any]:
    """What Optuna's dashboard sees."""
    with optuna_study(url) as study:
        return list(study.trials)


def expected_trials(log: list[Event], levels: int, sign: float, settled: bool) -> list[tuple[Any, ...]]:
    """State, parameters, steps and value of each trial, folded from the events by the shortest way."""
    found: dict[int, list[Any]] = {}
    for event in log:
        if event.config is not None:
            assert event.trial == len(found), "numbers of trials must count up"
            found[event.trial] = ["RUNNING", event.config, {}, None]
        trial = found[event.trial]
        if event.kind == "start":
            trial[0] = "RUNNING"
        elif event.kind == "report":
            assert event.value is not None
            trial[2][int(event.resource)] = sign * event.value
            trial[0] = "COMPLETE" if event.rung + 1 == levels else "WAITING"
            trial[3] = sign * event.value if trial[0] == "COMPLETE" else None
        else:
            trial[0] = "FAIL" if event.kind == "fail" else "WAITING"
    if settled:
        for trial in found.values():
            if trial[0] == "WAITING":
                trial[0], trial[3] = "PRUNED", trial[2][max(trial[2])] if trial[2] else None
    return [tuple(found[number]) for number in range(len(found))]


def assert_mirrored(
    url: str, events: list[Event], levels: int = 3, sign: float = 1.0, settled: bool | None = False
) -> None:
    """Optuna's trials are those of the events; settled None takes either."""
    trials = optuna_trials(url)
    if settled is None:
        settled = any(trial.state.name == "PRUNED" for trial in trials)
    assert [trial.number for trial in trials] == list(range(len(trials)))
    shown = [(trial.state.name, trial.params, trial.intermediate_values, trial.value) for trial in trials]
    assert shown == expected_trials(events, levels, sign, settled)


class Worker:
    """The least that works on a study: asha over random search, with values that need no training."""

    def __init__(self, url: str, name: str, trials: int) -> None:
        self.url, self.name = url, name
        self.search: Search = asha(random(SPACE), r_max=9, trials=trials)
        self.running: dict[int, Event] = {}
        self.events: list[Event] = []

    def catch_up(self) -> None:
        for event in self.log.read():
            self.events.append(event)
            self.search.record(event)
            if event.kind == "start":
                self.running[event.trial] = event
            else:
                del self.running[event.trial]

    def claim(self) -> Event | None:
        with self.log.locked():
            self.catch_up()
            lost = self.log.lost() if self.running else []
            for start in [start for start in self.running.values() if start.worker in lost]:
                self.log.append(Event("release", start.trial, start.rung, worker=start.worker, attempt=start.attempt))
                self.catch_up()
            job = self.search.next()
            if job is None:
                return None
            attempt = self.search.trials[job.trial].attempt + 1 if job.config is None else 1
            self.log.append(
                Event("start", job.trial, job.rung, job.resource, None, job.config, self.name, time.time(), attempt)
            )
            self.catch_up()
            return self.running[job.trial]

    def work(self) -> None:
        """Open the storage, do jobs until there are none, settle."""
        self.log = begin(self.url, say=ignore)[1]
        self.log.enter(self.name)
        while not self.search.done or not self.events:
            start = self.claim()
            if start is None:
                time.sleep(0.02)
                continue
            value = ((start.trial * 7919) % 101 + 1) / (start.rung + 1)
            with self.log.locked():
                self.catch_up()
                if self.running.get(start.trial) == start:
                    report = Event(
                        "report", start.trial, start.rung, start.resource, value, None, self.name, time.time(),
                        start.attempt,
                    )  # fmt: skip
                    self.log.append(report, last=start.rung == 2)
                self.catch_up()
        with self.log.locked():
            self.log.settle()
        self.log.leave(self.name)


def assert_whole(events: list[Event], trials: int) -> None:
    """Every job was done once: a start and what ends it follow one another, no rung is reported twice."""
    running: dict[int, Event] = {}
    for event in events:
        if event.kind == "start":
            assert event.trial not in running
            running[event.trial] = event
        else:
            start = running.pop(event.trial)
            assert (start.rung, start.attempt) == (event.rung, event.attempt)
    assert not running
    reports = Counter((event.trial, event.rung) for event in events if event.kind == "report")
    assert set(reports.values()) == {1}
    assert {trial for trial, rung in reports if rung == 0} == set(range(trials))


def play(*words: str, seconds: float = 100) -> dict[str, Any]:
    """Run this file in a process of its own, which may fork: it has no threads."""
    done = subprocess.run([sys.executable, __file__, *words], capture_output=True, text=True, timeout=seconds)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


class StorageContract:
    """What holds in a file and on a server; a subclass has the fixture `url`, of a database that is empty."""

    def test_events_come_back_as_they_were(self, url: str) -> None:
        storage, log = begin(url)
        events = [
            first(0, time=1.7e9 + 1 / 3),
            Event("report", 0, 0, 1.0, -0.1, worker="w", time=2.0),
            first(1),
            Event("fail", 1, 0, 1.0, worker="w", reason="the loss is nan: 100 %"),
            Event("start", 0, 1, 3.0, worker="v", attempt=2),
            Event("release", 0, 1, 3.0, worker="v", attempt=2, reason="stopped"),
        ]
        append(log, *events)
        assert log.read() == [events[-1]] and log.read() == []
        other = open_storage(url, say=quiet).log(NAME)
        assert other.read() == events
        assert storage.names() == [NAME] and storage.spec("another") is None

    def test_joining_returns_what_is_stored(self, url: str) -> None:
        storage, log = begin(url)
        assert storage.join(NAME, {"trials": 10}, SPACE, "min") == {"trials": 9} == storage.spec(NAME)
        with log.locked():
            log.extend({"trials": 12, "more": [1.5, None]})
        assert open_storage(url, say=quiet).spec(NAME) == {"trials": 12, "more": [1.5, None]}
        with pytest.raises(ConfigError, match="printable name"):
            storage.join("a\nb", {}, SPACE, "min")

    def test_studies_of_one_database_are_apart(self, url: str) -> None:
        storage, log = begin(url)
        storage.join("second", {}, SPACE, "max")
        second = storage.log("second")
        append(log, first(0), first(1))
        append(second, first(0))
        assert len(second.read()) == 1 and second.lost() == []
        assert len(optuna_trials(url)) == 2

    @pytest.mark.parametrize(("mode", "sign"), [("min", 1.0), ("max", -1.0)])
    def test_optuna_sees_the_same_trials(self, url: str, mode: str, sign: float) -> None:
        import optuna

        _, log = begin(url, mode)
        events = [
            first(0), Event("report", 0, 0, 1.0, 0.25), first(1), Event("fail", 1, 0, reason="no number"), first(2),
            Event("report", 2, 0, 1.0, 0.75), Event("start", 0, 1, 3.0, attempt=2), Event("release", 0, 1, 3.0),
            Event("start", 0, 1, 3.0, attempt=3), Event("report", 0, 1, 3.0, 0.125), first(3),
        ]  # fmt: skip
        append(log, *events)
        assert_mirrored(url, events, sign=sign)
        append(log, Event("report", 3, 2, 9.0, 0.5), last=True)
        events.append(Event("report", 3, 2, 9.0, 0.5))
        with log.locked():
            log.settle()
            log.settle()
        assert_mirrored(url, events, sign=sign, settled=True)
        trials = optuna_trials(url)
        assert trials[1].user_attrs == {"fail_reason": "no number"}
        assert trials[0].distributions["optim.lr"] == optuna.distributions.FloatDistribution(1e-4, 1.0, log=True)
        assert [trial.state.name for trial in trials] == ["PRUNED", "FAIL", "PRUNED", "COMPLETE"]

    def test_a_study_that_was_settled_goes_on_with_more_trials(self, url: str) -> None:
        _, log = begin(url)
        events = [first(0), Event("report", 0, 0, 1.0, 0.25)]
        append(log, *events)
        with log.locked():
            log.settle()
        append(log, Event("start", 0, 1, 3.0, attempt=2), first(1))
        events += [Event("start", 0, 1, 3.0, attempt=2), first(1)]
        assert_mirrored(url, events)
        append(log, Event("report", 0, 2, 9.0, 0.2), last=True)
        assert_mirrored(url, [*events, Event("report", 0, 2, 9.0, 0.2)])

    def test_who_has_not_read_all_events_cannot_write(self, url: str) -> None:
        _, one = begin(url)
        _, two = begin(url)
        append(one, first(0), first(1))
        with two.locked(), pytest.raises(StaleError, match="changed by another process"):
            two.append(first(0, time=1.0))
        assert len(optuna_trials(url)) == 2
        two.read()
        append(two, first(2))
        assert len(one.read()) == 2

    def test_the_lock_is_held_by_one_thread_at_a_time(self, url: str) -> None:
        storage, _ = begin(url)
        held: list[int] = []

        def hold(number: int) -> None:
            log = storage.log(NAME)
            for _ in range(10):
                with log.locked():
                    held.append(number)
                    time.sleep(0.001)
                    assert held[-1] == number
                    held.append(-number)

        threads = [threading.Thread(target=hold, args=(number,)) for number in (1, 2, 3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert len(held) == 60
        assert all(a == -b for a, b in zip(held[::2], held[1::2]))

    def test_a_lock_that_takes_long_is_told_once(self, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
        from d2lcli.hpo import locks

        monkeypatch.setattr(locks, "WARN", 0.1)
        lines: list[str] = []
        storage = open_storage(url, say=lines.append)
        storage.join(NAME, {}, SPACE, "min")
        one, two = storage.log(NAME), storage.log(NAME)
        with one.locked():
            thread = threading.Thread(target=lambda: append(two, first(0)))
            thread.start()
            time.sleep(0.5)
        thread.join(30)
        assert len(lines) == 1 and "another process holds" in lines[0]
        assert len(one.read()) == 1

    def test_a_lock_is_free_when_its_holder_is_killed(self, url: str) -> None:
        _, log = begin(url)
        holder = subprocess.Popen([sys.executable, __file__, "hold", url], stdout=subprocess.PIPE, text=True)
        assert holder.stdout is not None and holder.stdout.readline() == "held\n"
        threading.Timer(0.3, holder.kill).start()
        begun = time.monotonic()
        append(log, first(0))
        assert time.monotonic() - begun > 0.2
        holder.wait()
        holder.stdout.close()

    def test_a_study_that_was_removed_from_optuna_is_made_anew(self, url: str) -> None:
        lines: list[str] = []
        _, log = begin(url, say=lines.append)
        events = [first(0), Event("report", 0, 0, 1.0, 0.5), first(1), Event("fail", 1, reason="x")]
        append(log, *events)
        remove_from_optuna(url)
        append(log, first(2))  # nothing is lost; what Optuna cannot be shown is told once
        append(log, first(3))
        assert len(lines) == 1 and "another program has changed study" in lines[0]
        _, again = begin(url)
        events += [first(2), first(3)]
        assert again.read() == events
        assert_mirrored(url, events)

    def test_what_happens_to_a_removed_study_does_not_reach_another_one(self, url: str) -> None:
        storage, log = begin(url, say=ignore)
        append(log, first(0))
        remove_from_optuna(url)
        storage.join("second", {}, SPACE, "min")
        append(storage.log("second"), first(0))  # SQLite gives it the key that the first one's trial had
        append(log, Event("fail", 0, reason="x"))
        with optuna_study(url, "second") as study:
            assert [trial.state.name for trial in study.trials] == ["RUNNING"]

    def test_a_trial_that_another_program_has_ended_does_not_stop_a_search(self, url: str) -> None:
        import optuna

        lines: list[str] = []
        _, log = begin(url, say=lines.append)
        append(log, first(0), first(1))
        with optuna_study(url) as study:
            study.tell(0, state=optuna.trial.TrialState.FAIL)
        append(log, Event("report", 0, 0, 1.0, 0.5), Event("report", 1, 0, 1.0, 0.5))
        assert len(lines) == 1 and "finished" in lines[0]
        assert [event.kind for event in log.read()] == ["report"]
        assert [trial.state.name for trial in optuna_trials(url)] == ["FAIL", "WAITING"]

    def test_trials_that_another_program_adds_are_left_alone(self, url: str) -> None:
        _, log = begin(url)
        append(log, first(0))
        with optuna_study(url) as study:
            study.enqueue_trial({"optim.lr": 0.1})
        append(log, first(1), Event("report", 1, 0, 1.0, 0.5))
        with log.locked():
            log.settle()
        trials = optuna_trials(url)
        assert [trial.state.name for trial in trials] == ["RUNNING", "WAITING", "PRUNED"]
        assert trials[2].params == config(1)

    def test_a_study_of_optuna_alone_is_not_taken(self, url: str) -> None:
        import optuna

        storage = open_storage(url, say=quiet)
        rdb = optuna.storages.RDBStorage(url.replace("postgresql:", "postgresql+psycopg:"))
        optuna.create_study(study_name=NAME, storage=rdb)
        rdb.engine.dispose()
        with pytest.raises(ConfigError, match="one of Optuna's"):
            storage.join(NAME, {}, SPACE, "min")
        assert storage.names() == []

    def test_a_worker_that_is_killed_is_lost_at_once(self, url: str) -> None:
        _, log = begin(url)
        worker = subprocess.Popen([sys.executable, __file__, "enter", url], stdout=subprocess.PIPE, text=True)
        assert worker.stdout is not None and worker.stdout.readline() == "entered\n"
        log.enter("me")
        assert log.lost() == []
        os.kill(worker.pid, signal.SIGKILL)
        os.waitid(os.P_PID, worker.pid, os.WEXITED | os.WNOWAIT)
        assert log.lost() == ["child"]  # though its parent has not yet asked how it ended
        worker.wait()
        worker.stdout.close()
        assert log.lost() == ["child"]
        log.leave("me")
        assert log.lost() == ["child", "me"]

    def test_several_processes_on_a_new_database_do_each_job_once(self, url: str) -> None:
        played = play("crowd", url, "9", "4")
        assert played["codes"] == [0] * 4
        events = open_storage(url, say=quiet).log(NAME).read()
        assert_whole(events, 9)
        assert any(event.rung == 2 for event in events)
        assert_mirrored(url, events, settled=True)

    def test_nothing_is_lost_when_workers_are_killed_at_random_moments(self, url: str) -> None:
        self.kill(url, kills=8, trials=20)

    @pytest.mark.slow
    def test_nothing_is_lost_when_workers_are_killed_often(self, url: str) -> None:
        self.kill(url, kills=60, trials=150)

    def kill(self, url: str, kills: int, trials: int) -> None:
        """Kill a worker again and again, look at what is there, and let another one go on to the end."""
        play("kills", url, str(kills), str(trials), seconds=600)
        events = open_storage(url, say=quiet).log(NAME).read()
        assert_whole(events, trials)
        assert sum(event.kind == "release" for event in events) <= kills
        assert_mirrored(url, events, settled=True)
        assert "RUNNING" not in {trial.state.name for trial in optuna_trials(url)}


@contextmanager
def optuna_study(url: str, name: str = NAME) -> Iterator[Any]:
    """A study as another program has it."""
    import optuna

    rdb = optuna.storages.RDBStorage(url.replace("postgresql:", "postgresql+psycopg:"))
    try:
        yield optuna.load_study(study_name=name, storage=rdb)
    finally:
        rdb.engine.dispose()


def remove_from_optuna(url: str) -> None:
    """What the button of its dashboard does."""
    with optuna_study(url) as study:
        study._storage.delete_study(study._study_id)


def _crowd(url: str, trials: int, *crowds: int) -> None:
    """Let processes begin a study at the same moment: so many of them for each number, `*` in the URL is which."""
    codes = []
    for turn, processes in enumerate(crowds):
        moment = time.time() + 0.1
        children = []
        for number in range(processes):
            child = os.fork()
            if child == 0:
                time.sleep(max(0.0, moment - time.time()))
                _exit(Worker(url.replace("*", str(turn)), f"worker-{number}", trials))
            children.append(child)
        codes += [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    print(json.dumps({"codes": codes}))


def _kills(url: str, kills: int, trials: int) -> None:
    """Kill two workers at a time, at random moments, and check after each time that Optuna's view is in step."""
    random_moment = rng.Random(url)
    for number in range(kills + 1):
        children = []
        for half in (0, 1) if number < kills else (0,):
            child = os.fork()
            if child == 0:
                _exit(Worker(url, f"worker-{number}-{half}", trials))
            children.append(child)
        for child in children:
            if number < kills:
                time.sleep(random_moment.uniform(0.0, 0.35))
                os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
        if number and number % 4 == 0:
            assert_mirrored(url, begin(url)[1].read(), settled=None)
    print(json.dumps({}))


def _exit(worker: Worker) -> None:
    """Work, and end a forked process without going back to what its parent was doing."""
    code = 1
    try:
        worker.work()
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def _hold(url: str) -> None:
    with begin(url)[1].locked():
        print("held", flush=True)
        time.sleep(60)


def _enter(url: str) -> None:
    begin(url)[1].enter("child")
    print("entered", flush=True)
    time.sleep(60)


def _warm_up() -> None:
    """Use all once, so that what is forked has it already."""
    with tempfile.TemporaryDirectory() as folder:
        storage, log = begin(f"sqlite:///{folder}/study.db")
        append(log, first(0), Event("report", 0, 0, 1.0, 0.5))
        storage._database.rdb.engine.dispose()


if __name__ == "__main__":
    command, place, *numbers = sys.argv[1:]
    actions: dict[str, Callable[..., None]] = {"crowd": _crowd, "kills": _kills, "hold": _hold, "enter": _enter}
    _warm_up()
    actions[command](place, *map(int, numbers))

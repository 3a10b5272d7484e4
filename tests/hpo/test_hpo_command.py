"""`d2l hpo` from outside: what it prints and writes, kills, several processes, storages that cannot be used."""

import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from runs import LINEAR, d2l, environment

from d2lcli.hpo.events import Event
from d2lcli.hpo.trace import check_trace

SPACE = ("optim.lr=tag(log,interval(1e-4,1e-2))", "data.batch_size=4,8")
SEARCH = ("hpo", "--asha", *LINEAR, "epochs=9", *SPACE, "--trials", "9", "--workers", "2")
# Seconds of training, so that a signal finds it at work: LeNet, 21 epochs in all.
LONGER = (
    *("hpo", "--asha", "model=lenet", "data.limit=3000", "hardware=cpu", "hardware.threads=1", "epochs=9"),
    *("optim.lr=tag(log,interval(1e-4,1e-2))", "data.batch_size=8,16", "--trials", "9", "--workers", "2"),
)


def start(folder: Path, *words: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "d2lcli", *words, "--run-dir", str(folder)]
    nothing = subprocess.DEVNULL
    return subprocess.Popen(command, env=environment(), stdout=nothing, stderr=nothing)


def events(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]


def states(folder: Path, database: str = "study.db") -> Counter[str]:
    with sqlite3.connect(folder / database) as connection:
        numbers = [number for (number,) in connection.execute("select number from trials")]
        assert sorted(numbers) == list(range(len(numbers)))  # each once
        return Counter(state for (state,) in connection.execute("select state from trials"))


def check(folder: Path, trials: int = 9) -> None:
    """Every trial ended once, no rung was reported twice, none is running, and values belong to their runs."""
    found = events(folder)
    reports = [(event["trial"], event["rung"]) for event in found if event["kind"] == "report"]
    assert len(set(reports)) == len(reports)
    assert {event["trial"] for event in found} == set(range(trials))
    assert check_trace([Event(**event) for event in found], [1, 3, 9], 3) == []
    counts = states(folder)
    assert counts["COMPLETE"] + counts["PRUNED"] == trials and not counts["RUNNING"] and not counts["WAITING"]
    for number in range(trials):
        result = json.loads((folder / "trials" / f"{number:04d}" / "result.json").read_text())
        last = [event for event in found if event["trial"] == number and event["kind"] == "report"][-1]
        metrics = result["metrics"]
        assert last["value"] == (metrics["rmse"] if "rmse" in metrics else -metrics["accuracy"])


def test_a_search_from_the_first_word_to_the_last(tmp_path: Path) -> None:
    done = d2l(*SEARCH, "--study", "first", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "runs" / "first"
    assert done.stdout == "runs/first\n"
    check(folder)
    result = json.loads((folder / "result.json").read_text())
    assert result["status"] == "done" and [row["resource"] for row in result["rungs"]] == [1, 3, 9]
    assert result["rungs"][0]["trials"] == 9 and result["trials"]["total"] == 9
    assert f"its whole run: {result['best']['command']}" in done.stderr
    assert {path.name for path in (folder / "plots").iterdir()} >= {"incumbents.png", "parallel_coordinates.png"}

    again = d2l("hpo", "--resume", "--json", cwd=tmp_path)  # the newest study; there is nothing left to do
    assert again.returncode == 0 and "done already" in again.stderr
    shown = json.loads(again.stdout)
    assert shown["best"] == result["best"] and shown["trials"] == result["trials"]

    more = d2l("hpo", "--resume", "--study", "first", "--trials", "11", cwd=tmp_path)
    assert more.returncode == 0, more.stderr
    check(folder, 11)

    other = d2l(*SEARCH, "seed=9", "--study", "first", cwd=tmp_path)
    assert other.returncode == 2 and "study 'first'" in other.stderr
    check(folder, 11)


def test_the_printed_command_is_the_trial(tmp_path: Path) -> None:
    words = ["hpo", "--random", *LINEAR, *SPACE, "--trials", "3", "--workers", "1", "--json", "--retrain"]
    done = d2l(*words, "--run-dir", str(tmp_path / "study"))
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    retrained = json.loads((Path(result["retrained"]) / "result.json").read_text())
    assert retrained["metrics"]["rmse"] == result["best"]["value"]


@pytest.mark.parametrize("kills", [4, pytest.param(20, marks=pytest.mark.slow)])
def test_the_command_is_killed_again_and_again(tmp_path: Path, kills: int) -> None:
    """One worker: the schedule is a function of the results, so that kills change nothing of what is found."""
    chooser = random.Random(kills)
    words = [*SEARCH[:-1], "1", "data.limit=4000"]
    for _ in range(kills):
        process = start(tmp_path / "killed", *words)
        time.sleep(chooser.uniform(1.0, 6.0))
        process.kill()
        process.wait()
        time.sleep(0.2)  # the kernel ends the workers of a controller that is gone
    for folder in ("killed", "whole"):
        done = d2l(*words, "--run-dir", str(tmp_path / folder), timeout=200)
        assert done.returncode == 0, done.stderr
        check(tmp_path / folder)
    killed, whole = (json.loads((tmp_path / folder / "result.json").read_text()) for folder in ("killed", "whole"))
    for result in (killed, whole):
        result["best"].pop("run")
    assert killed["best"] == whole["best"] and killed["rungs"] == whole["rungs"]


def test_workers_are_killed_and_replaced(tmp_path: Path) -> None:
    folder = tmp_path / "study"
    process = start(folder, *LONGER)
    killed, end = 0, time.monotonic() + 60
    while killed < 3 and process.poll() is None and time.monotonic() < end:
        time.sleep(3.0)
        for child in children(process.pid):
            if b"--hpo-worker" in Path(f"/proc/{child}/cmdline").read_bytes():
                os.kill(child, signal.SIGKILL)
                killed += 1
                break
    assert process.wait(120) == 0 and killed
    check(folder)


def children(pid: int) -> list[int]:
    found = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(word) for word in found.read_text().split()] if found.exists() else []


def test_ctrl_c_saves_and_resume_goes_on(tmp_path: Path) -> None:
    folder = tmp_path / "study"
    process = start(folder, *LONGER)
    end = time.monotonic() + 60
    while not (folder / "trials").exists() and time.monotonic() < end:
        time.sleep(0.1)
    time.sleep(1.5)
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 130
    assert not any(event["kind"] == "release" and "lost" in event["reason"] for event in events(folder))
    done = d2l("hpo", "--resume", "--run-dir", str(folder), timeout=120)
    assert done.returncode == 0, done.stderr
    check(folder)


@pytest.mark.parametrize("processes", [2, pytest.param(8, marks=pytest.mark.slow)])
def test_processes_that_start_at_once_share_one_new_study(tmp_path: Path, processes: int) -> None:
    folder = tmp_path / "study"
    words = [*SEARCH[:-1], "1"]
    all_of_them = [start(folder, *words) for _ in range(processes)]
    assert [process.wait(200) for process in all_of_them] == [0] * processes
    check(folder)


def test_minutes_end_a_search_that_can_go_on(tmp_path: Path) -> None:
    folder = tmp_path / "study"
    done = d2l(*LONGER, "--minutes", "0.02", "--run-dir", str(folder))
    assert done.returncode == 0 and "stopped (time), nothing is lost" in done.stderr
    assert json.loads((folder / "result.json").read_text())["status"] == "time"


def test_trials_that_fail_are_told_of(tmp_path: Path) -> None:
    words = ["hpo", "--grid", *LINEAR, "optim.lr=1e-3,1e30,2e-3", "--workers", "1"]
    done = d2l(*words, "--run-dir", str(tmp_path / "study"))
    assert done.returncode == 0, done.stderr
    assert "1 failed" in done.stderr and states(tmp_path / "study") == {"COMPLETE": 2, "FAIL": 1}

    words = ["hpo", "--grid", *LINEAR, "optim.lr=1e30,2e30", "--workers", "1"]
    done = d2l(*words, "--run-dir", str(tmp_path / "hopeless"))
    assert done.returncode == 1 and "error: all 2 trials have failed" in done.stderr


def test_missing_data_is_told_once_with_its_own_code(tmp_path: Path) -> None:
    words = ["hpo", "data=fashion_mnist", "model=lenet", "optim.lr=1,2", "--workers", "2"]
    blocked = environment(
        D2L_DATA="", HOME=str(tmp_path), XDG_CACHE_HOME=str(tmp_path), http_proxy="http://127.0.0.1:9"
    )
    done = d2l(*words, "--run-dir", str(tmp_path / "study"), env=blocked | {"https_proxy": "http://127.0.0.1:9"})
    assert done.returncode == 3 and done.stderr.count("error:") == 1


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (["--asha", "--grid"], 2, "are two searches"),
        (["--asha", "search=grid"], 2, "both choose the search"),
        (["--resume", "optim.lr=1,2"], 2, "it takes no keys"),
        (["--resume", "--study", "none"], 4, "no study in runs/none"),
        (["--resume"], 4, "there is no study in runs/"),
        (["optim.lrr=1,2"], 2, "did you mean 'optim.lr'"),
        (["--trails", "3"], 2, "did you mean '--trials'"),
        (["--workers", "0"], 2, "--workers"),
        (["optim.lr=0.1", "data.batch_size=8"], 2, "the search space is empty"),
        (["--halving", "search.budget=1"], 2, "search.budget"),
        (["--storage", "mysql://host/x", "optim.lr=1,2"], 2, "mysql"),
        (["--storage", "sqlite:////nowhere/at/all.db", "optim.lr=1,2"], 1, "/nowhere/at"),
    ],
)
def test_mistakes_are_told_before_anything_is_written(tmp_path: Path, words: list[str], code: int, text: str) -> None:
    done = d2l("hpo", *words, cwd=tmp_path)
    assert (done.returncode, text in done.stderr) == (code, True), done.stderr
    assert "Traceback" not in done.stderr and not list(tmp_path.rglob("*.db"))


def test_a_damaged_storage_is_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "study.db"
    path.write_text("this is no database\n" * 100)
    done = d2l(*SEARCH, "--storage", f"sqlite:///{path}", "--run-dir", str(tmp_path / "study"))
    assert done.returncode == 1 and "study.db" in done.stderr and done.stderr.count("error:") == 1
    assert path.read_text() == "this is no database\n" * 100


def test_a_folder_with_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "letters.txt").write_text("mine")
    done = d2l(*SEARCH, "--run-dir", str(tmp_path))
    assert done.returncode == 2 and "is not empty" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["letters.txt"]

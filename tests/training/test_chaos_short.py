"""Killed at any moment, or out of space, a run resumes to the bytes of one that was left alone.

The long form of the same tries the real command from outside.
"""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from crashing import WORDS
from runs import ROOT, assert_equal, environment, newest, outcome, rows, train

from d2lcli.errors import D2LError
from d2lcli.training.checkpoint import read_snapshot


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a run that nothing happens to comes to."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    train(folder, *WORDS)
    return outcome(folder)


def points(mode: str, folder: Path, first: int, step: int) -> list[dict[str, Any]]:
    """Break a run at call `first`, `first` + `step`, ... each time resumed once."""
    script = Path(__file__).with_name("crashing.py")
    paths = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    done = subprocess.run(
        [sys.executable, str(script), mode, str(folder), str(first), str(step)],
        env=environment(PYTHONPATH=paths),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def check_kills(folder: Path, first: int, step: int, whole: dict[str, Any]) -> set[str]:
    found = points("kill", folder, first, step)
    assert all(point["code"] == -signal.SIGKILL and point["again"] == 0 for point in found), found
    for point in found:
        assert_equal(folder / str(point["point"]), whole)
        left = [path.name for path in (folder / str(point["point"])).rglob("*.tmp-*")]
        assert left == [], f"left behind at point {point}: {left}"
    assert len(found) * step >= 140  # 5 checkpoints, each of more than 20 calls
    return {point["call"] for point in found}


def test_killed_at_calls_that_change_the_disk(tmp_path: Path, whole: dict[str, Any]) -> None:
    assert check_kills(tmp_path, 2, 3, whole) >= {"fsync", "rename", "replace", "unlink", "mkdir"}


@pytest.mark.slow
def test_killed_at_every_call_that_changes_the_disk(tmp_path: Path, whole: dict[str, Any]) -> None:
    calls = check_kills(tmp_path, 1, 1, whole)
    assert calls == {"fsync", "rename", "replace", "symlink", "mkdir", "unlink", "rmdir", "ftruncate"}


def check_full(folder: Path, first: int, step: int, whole: dict[str, Any]) -> None:
    found = points("full", folder, first, step)
    assert all(point["code"] == 1 and point["again"] == 0 for point in found), found
    for point in found:
        told = (folder / f"{point['point']}.log").read_text()
        error = told[told.index("error: ") :]
        assert str(folder) in error and "No space left on device" in error and "hint: make room" in error
        assert "Traceback" not in told and error.count("\n") <= 3
        assert_equal(folder / str(point["point"]), whole)
    assert len(found) * step >= 80


def test_the_disk_is_full(tmp_path: Path, whole: dict[str, Any]) -> None:
    check_full(tmp_path, 3, 7, whole)


@pytest.mark.slow
def test_the_disk_is_full_at_every_call(tmp_path: Path, whole: dict[str, Any]) -> None:
    check_full(tmp_path, 1, 1, whole)


def test_killed_at_random_moments(tmp_path: Path) -> None:
    """Three kills with signal 9 while checkpoints are written all the time, each after the first new rows."""
    words = (*WORDS, "epochs=400", "checkpoint_every=3")  # 2,000 updates: also a fast machine is hit before the end
    folder, moments = tmp_path / "run", random.Random(20)
    command = [sys.executable, "-m", "d2lcli", "train", *words, "--resume", str(folder)]
    kills = 0
    for _ in range(3):
        before = len(rows_so_far(folder))
        with subprocess.Popen(command, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as run:
            deadline = time.monotonic() + 60
            while len(rows_so_far(folder)) <= before + 3 and run.poll() is None and time.monotonic() < deadline:
                time.sleep(0.01)
            time.sleep(moments.uniform(0.0, 0.2))
            run.kill()
            kills += run.wait(timeout=30) == -signal.SIGKILL
    assert kills == 3
    assert rows(folder, "val") == [] or rows(folder, "val")[-1]["step"] < 2000
    last = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=120)
    assert last.returncode == 0 and "resumed at step" in last.stderr, last.stderr
    train(tmp_path / "whole", *words)
    assert_equal(folder, outcome(tmp_path / "whole"))


def rows_so_far(folder: Path) -> list[str]:
    """Lines of a log that somebody writes; the last one may be torn."""
    try:
        return (folder / "metrics.jsonl").read_text().splitlines()
    except FileNotFoundError:
        return []


def test_the_folder_vanishes_while_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from d2lcli.training.updates import Updates

    step = Updates._step

    def removing(self: Updates, measure: bool) -> bool:
        if self.at.step == 2:
            (tmp_path / "run").rename(tmp_path / "elsewhere")
        return step(self, measure)

    monkeypatch.setattr(Updates, "_step", removing)
    with pytest.raises((OSError, D2LError)) as caught:
        train(tmp_path / "run", *WORDS)
    assert str(tmp_path / "run") in str(caught.value)
    assert not (tmp_path / "run").exists()
    assert read_snapshot(newest(tmp_path / "elsewhere")).step == 2

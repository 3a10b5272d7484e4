"""Starts a run of several processes and kills one of them, for the tests of what comes after."""

import subprocess
import sys
import time
from pathlib import Path

import psutil
from runs import environment


def _ranks(launcher: int) -> dict[int, psutil.Process]:
    """The processes of a run, once there are two of them, by rank."""
    found = {}
    for child in psutil.Process(launcher).children(recursive=True):
        try:
            found[int(child.environ()["RANK"])] = child
        except (psutil.Error, KeyError):  # one that comes or goes
            continue
    return found if len(found) > 1 else {}


def train_and_kill(folder: Path, victim: int | None, *words: str, wait: float = 0.0) -> tuple[int, str]:
    """Train until there is a checkpoint and `wait` seconds more, then kill the process of this rank.

    Args:
        folder: of the run, which goes on where it was begun.
        victim: None is the launcher, whose processes then end by themselves.
        words: of the config.
        wait: seconds.

    Returns:
        The exit code, and what was said on stderr.
    """
    command = [sys.executable, "-m", "d2lcli", "train", *words, "--resume", str(folder)]
    with subprocess.Popen(
        command, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            deadline = time.monotonic() + 90
            while not (folder / "checkpoints" / "last").exists():
                assert process.poll() is None and time.monotonic() < deadline
                time.sleep(0.02)
            time.sleep(wait)
            while not (ranks := _ranks(process.pid)):
                time.sleep(0.02)
            (process if victim is None else ranks[victim]).kill()
            psutil.wait_procs(list(ranks.values()), timeout=60)
            told = process.communicate(timeout=90)[1]
        finally:
            process.terminate()
    return process.returncode, told

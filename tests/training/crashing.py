"""Lets a run die, or run out of space, at each call that changes the disk, one call after the other.

    python crashing.py kill|full FOLDER FIRST STEP     prints one JSON object a line: point, call, code, again

A process that has imported torch forks a child for each point: the child dies at its call number `point` (`kill`), or
every such call fails from there on with ENOSPC (`full`).  A second child resumes.  Ends at a point that is never met.
"""

import errno
import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from runs import LINEAR

from d2lcli.__main__ import main

KILL = ("fsync", "rename", "replace", "symlink", "mkdir", "unlink", "rmdir", "ftruncate")
FULL = ("fsync", "symlink", "mkdir")  # a full disk lets names be changed and removed
WORDS = (*LINEAR, "epochs=2", "checkpoint_every=2", "keep=1", "ema=0.9", "log_every=2")


def child(work: Callable[[], int], log: Path) -> int:
    """Run `work` in a forked process with its output in `log`; its exit code, negative for a signal."""
    pid = os.fork()
    if pid == 0:
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)
        code = work()
        sys.stdout.flush()
        os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def break_at(mode: str, point: int, note: Path) -> None:
    """From now on call number `point` among those watched does not return."""
    count = 0

    def broken(name: str, original: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            nonlocal count
            count += 1
            if count == point:
                note.write_text(name)
            if count == point and mode == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            if count >= point and mode == "full":
                names = () if name == "fsync" else (str(args[-1 if name == "symlink" else 0]),)  # as the system would
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), *names)
            return original(*args, **options)

        return call

    for name in KILL if mode == "kill" else FULL:
        setattr(os, name, broken(name, getattr(os, name)))


def crash(mode: str, folder: Path, point: int) -> int:
    """A run that breaks at `point`."""
    break_at(mode, point, folder / f"{point}.call")
    return main(["train", *WORDS, "--run-dir", str(folder / str(point))])


def again(folder: Path, point: int) -> int:
    """The same command once more, as a requeued job would give it."""
    return main(["train", *WORDS, "--resume", str(folder / str(point))])


def every_point(mode: str, folder: Path, first: int, step: int) -> None:
    """All points from `first` on, until a run meets none."""
    import torch

    torch.set_num_threads(1)
    main(["train", *WORDS, "--run-dir", str(folder / "warm")])  # imports what the children would import each
    for point in range(first, 10_000, step):
        code = child(lambda point=point: crash(mode, folder, point), folder / f"{point}.log")  # type: ignore[misc]
        met = folder / f"{point}.call"
        if not met.exists():
            return
        later = child(lambda point=point: again(folder, point), folder / f"{point}.again")  # type: ignore[misc]
        print(json.dumps({"point": point, "call": met.read_text(), "code": code, "again": later}), flush=True)


if __name__ == "__main__":
    every_point(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))

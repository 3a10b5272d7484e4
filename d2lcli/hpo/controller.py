"""Starts the workers of a study on this machine, replaces those that die, and shows what they do."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from d2lcli.errors import D2LError, WorkerLostError, clean
from d2lcli.hpo.events import Event
from d2lcli.hpo.study import Study, worker_name
from d2lcli.hpo.worker import COMMAND, ORDER
from d2lcli.training import signals

POLL = 0.2  # seconds between looks
MOST_DEATHS = 5  # of one worker, one after the other without a result
GRACE = 60.0  # seconds for a worker to save and leave


@dataclass
class Slot:
    """The place of one worker, whichever process fills it.

    Attributes:
        number: from 0 on.
        environment: variables of its processes: threads, and which GPU.
        deaths: of processes, since one of them has ended a job.
    """

    number: int
    environment: dict[str, str]
    process: subprocess.Popen[bytes] | None = None
    worker: str = ""
    deaths: int = 0
    log: IO[bytes] | None = field(default=None, repr=False)


def run(
    study: Study,
    storage: str,
    name: str,
    environments: Sequence[Mapping[str, str]],
    *,
    minutes: float | None = None,
    show: Callable[[Study, Sequence[Event]], None],
    say: Callable[[str], None],
) -> str:
    """Keep workers at work until the study is done.

    Args:
        study: to be done.
        storage: URL of its database.
        name: of the study.
        environments: variables for each worker.
        minutes: stop after so many; what is unfinished is saved.
        show: is called with new events, several times a second.
        say: prints one line.

    Returns:
        done, time (the minutes are over) or the name of the signal that stopped it.

    Raises:
        D2LError: the workers cannot do this study; their own error is told.
    """
    folder = study.folder / "workers"
    folder.mkdir(parents=True, exist_ok=True)
    slots = [Slot(number, dict(environment)) for number, environment in enumerate(environments)]
    end = time.monotonic() + 60 * minutes if minutes is not None else float("inf")
    with signals.watching():
        try:
            for slot in slots:
                _start(slot, study, storage, name)
            while True:
                show(study, study.catch_up())
                _look_after(slots, study, storage, name, say)
                if signals.state.requested:
                    return signal.Signals(signals.state.requested).name
                if time.monotonic() > end:
                    return "time"
                if study.done and all(slot.process is None for slot in slots):
                    return "done"
                time.sleep(POLL)
        finally:
            _stop(slots)
            show(study, study.catch_up())


def _start(slot: Slot, study: Study, storage: str, name: str) -> None:
    """Fill a slot with a new process."""
    slot.worker = worker_name(slot.number)
    order = {
        "storage": storage,
        "study": name,
        "folder": str(study.folder.resolve()),
        "worker": slot.worker,
        "plugins": study.spec.plugins,
    }
    slot.log = open(_log_path(study, slot), "ab")  # noqa: SIM115 -- closed with the process
    environment = os.environ | slot.environment | {ORDER: json.dumps(order), "D2L_LAUNCHED": "1"}
    slot.process = subprocess.Popen(
        [sys.executable, "-m", "d2lcli", COMMAND],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=slot.log,
        stderr=slot.log,
        start_new_session=True,  # Ctrl-C reaches this process alone, which passes it on
    )


def _look_after(slots: Sequence[Slot], study: Study, storage: str, name: str, say: Callable[[str], None]) -> None:
    """Replace processes that have died."""
    for slot in slots:
        code = slot.process.poll() if slot.process else None
        if code is None:
            continue
        _close(slot)
        if code == 0 or study.done:
            continue
        own_error = _last_error(_log_path(study, slot))
        if 0 < code < 128 and own_error:
            raise _as_error(code, own_error)
        worked = any(event.worker == slot.worker and event.kind != "start" for event in study.events)
        slot.deaths = 1 if worked else slot.deaths + 1
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        study.died(slot.worker, how)
        if slot.deaths >= MOST_DEATHS:
            raise WorkerLostError(
                f"worker {slot.number} {how}, time {slot.deaths} without a result", f"see {_log_path(study, slot)}"
            )
        say(f"worker {slot.number} {how}; another one takes its place")
        _start(slot, study, storage, name)


def _stop(slots: Sequence[Slot]) -> None:
    """Let every worker finish its step, save and leave."""
    for slot in slots:
        if slot.process is not None and slot.process.poll() is None:
            slot.process.send_signal(signal.SIGTERM)
    end = time.monotonic() + GRACE
    for slot in slots:
        if slot.process is not None:
            try:
                slot.process.wait(max(0.0, end - time.monotonic()))
            except subprocess.TimeoutExpired:
                slot.process.kill()
                slot.process.wait()
            _close(slot)


def _close(slot: Slot) -> None:
    slot.process = None
    if slot.log is not None:
        slot.log.close()


def _log_path(study: Study, slot: Slot) -> Path:
    return study.folder / "workers" / f"{slot.number}.log"


def _last_error(path: Path) -> tuple[str, str]:
    """The last `error:` line of a worker's log with the hint behind it; empty texts where there is none."""
    with open(path, "rb") as file:
        file.seek(max(0, path.stat().st_size - 10_000))
        lines = file.read().decode("utf-8", "replace").splitlines()
    errors = [index for index, line in enumerate(lines) if line.startswith("error: ")]
    if not errors or errors[-1] < len(lines) - 2:
        return "", ""
    hint = lines[-1].removeprefix("hint: ") if lines[-1].startswith("hint: ") else ""
    return clean(lines[errors[-1]].removeprefix("error: "), 600), clean(hint, 300)


def _as_error(code: int, texts: tuple[str, str]) -> D2LError:
    error = D2LError(*texts)
    error.exit_code = code
    return error


def environments(workers: int | None, hardware: Mapping[str, object]) -> list[dict[str, str]]:
    """The variables of each worker: one GPU each where trials train on GPUs, else an even share of the cores.

    Args:
        workers: how many; None is one for each GPU, or one for each core, 16 at the most.
        hardware: the node of the trials' config.

    Raises:
        D2LError: there are more workers than GPUs.
    """
    cores = len(os.sched_getaffinity(0))
    gpus = [] if hardware["device"] == "cpu" else _gpus()
    count = workers or len(gpus) or min(cores, 16)
    threads = {"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", str(max(1, cores // count)))}
    if not gpus:
        return [threads] * count
    if count > len(gpus):
        raise D2LError(
            f"--workers {count}: this machine has {len(gpus)} GPUs, and each worker needs one",
            f"--workers {len(gpus)}, or hardware=cpu",
        )
    return [threads | {"CUDA_VISIBLE_DEVICES": gpu} for gpu in gpus[:count]]


def _gpus() -> list[str]:
    """What CUDA_VISIBLE_DEVICES may name, one by one; asked of the driver's tool, which needs no import of torch."""
    if (visible := os.environ.get("CUDA_VISIBLE_DEVICES")) is not None:
        return [name.strip() for name in visible.split(",") if name.strip() not in ("", "-1")]
    try:
        answer = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return []
    return [str(index) for index in range(len(re.findall(r"^GPU \d+", answer.stdout, re.MULTILINE)))]

"""Starts the processes of a distributed run on this machine, under torch's elastic launcher."""

import ctypes
import logging
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from d2lcli.errors import ConfigError, WorkerLostError

OWN_CODES = range(1, 8)
GRACE = 15  # seconds that processes have to end once one of them has failed


def in_group() -> bool:
    """Whether somebody (torchrun, SLURM with torchrun, or `launch`) started this process as one of several."""
    return "RANK" in os.environ and "WORLD_SIZE" in os.environ


def die_with_parent() -> None:
    """Have the kernel end this process with its parent: a killed launcher leaves no trainer behind.  Linux only."""
    if os.environ.get("D2L_LAUNCHED") and sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(1, signal.SIGKILL)  # 1: PR_SET_PDEATHSIG
        if os.getppid() == 1:
            os._exit(128 + signal.SIGKILL)


def check_devices(hardware: Mapping[str, Any], strategy: str) -> None:
    """Refuse more processes than there are devices, before any is started; a CPU that is named takes any number.

    Raises:
        ConfigError: what is asked for is not here.
    """
    import torch

    name, wanted = hardware["device"], hardware["devices"]
    if name == "cpu":
        return
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    cores = len(os.sched_getaffinity(0))
    there = gpus if gpus or name.startswith("cuda") else cores
    if wanted > there:
        seen = f"{gpus} GPU{'s' if gpus != 1 else ''}" if gpus else f"no GPU that torch can use, and {cores} CPU cores"
        raise ConfigError(
            f"hardware.devices: {wanted} devices are asked for, but this machine has {seen}",
            f"take fewer, or run {wanted} processes on the CPU: "
            f"hardware={strategy} hardware.device=cpu hardware.devices={wanted}",
        )


def launch(arguments: list[str], processes: int, restarts: int = 0) -> int:
    """Run `d2l ARGUMENTS` in several processes; return the exit code for the shell.

    Args:
        arguments: of the command, the same for all.  With `restarts` they must begin a run or go on with it.
        processes: how many.
        restarts: how often all of them are started again when one was lost.

    Raises:
        WorkerLostError: a process was killed or crashed once more; its rank and signal are named.
    """
    for again in range(restarts):
        try:
            code = _launch(arguments, processes)
        except WorkerLostError as lost:
            told = lost.message
        else:
            if code != WorkerLostError.exit_code:
                return code
            told = "a process was lost"
        print(f"{told}; restart {again + 1} of {restarts} from the last checkpoint", file=sys.stderr, flush=True)
    return _launch(arguments, processes)


def _launch(arguments: list[str], processes: int) -> int:
    """`launch` without restarts."""
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, PContext, SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    logging.disable(logging.CRITICAL)  # what happened to a worker is said below, in one line
    setattr(PContext.close, "__defaults__", (None, GRACE))  # noqa: B010  half a minute else, and nothing sets it
    meeting = Path(tempfile.mkdtemp(prefix="d2l-meeting-"))
    threads = max(1, len(os.sched_getaffinity(0)) // processes)
    os.environ.setdefault("OMP_NUM_THREADS", str(threads))
    os.environ["D2L_MEETING"] = str(meeting / "group")
    os.environ["D2L_LAUNCHED"] = "1"
    os.environ["TORCH_DISABLE_SHARE_RDZV_TCP_STORE"] = "1"  # it would listen on every network of the machine
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=processes,
        run_id=meeting.name,
        rdzv_backend="c10d",
        rdzv_endpoint=str(meeting / "launcher"),
        rdzv_configs={"store_type": "file"},
        local_addr="127.0.0.1",
        max_restarts=0,
        monitor_interval=0.1,
        logs_specs=DefaultLogsSpecs(log_dir=str(meeting / "logs")),
    )
    command = ["-m", "d2lcli", *arguments]
    try:
        elastic_launch(config, sys.executable)(*command)
        return 0
    except SignalException as stopped:
        return 128 + stopped.sigval
    except ChildFailedError as lost:
        return explain(lost.failures)
    finally:
        shutil.rmtree(meeting, ignore_errors=True)


def explain(failures: Mapping[int, Any]) -> int:
    """The exit code for processes that failed together: the reason, not those who noticed it.

    Args:
        failures: rank -> something with `exitcode`, negative for a signal, and `timestamp` in seconds.

    Raises:
        WorkerLostError: one was killed, crashed or hung, and has not said why itself.
    """
    codes: dict[int, int] = {rank: failure.exitcode for rank, failure in failures.items()}
    rank = min(codes, key=lambda rank: (codes[rank] >= 0, codes[rank] == WorkerLostError.exit_code, rank))
    code = codes[rank]
    if code in OWN_CODES or code in (128 + signal.SIGINT, 128 + signal.SIGTERM, 128 + signal.SIGHUP):
        return code
    how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
    waited = failures[rank].timestamp - min(failure.timestamp for failure in failures.values())
    if code == -signal.SIGKILL and waited >= GRACE - 1:  # by the launcher; whole seconds are told
        how = "did not answer"
    raise WorkerLostError(
        f"the process of rank {rank} {how}; the others were stopped",
        "go on from the last checkpoint: d2l train --resume RUN",
    )

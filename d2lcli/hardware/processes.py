"""Processes of this program that measure together: started, given a job as JSON, waited for, never left behind."""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from d2lcli.errors import WorkerLostError, clean

PATIENCE = 300.0  # seconds for a job
MODULE = "d2lcli.hardware.worker"


def run_processes(
    job: str, world_size: int, options: Mapping[str, Any], *, on_gpu: bool = False, patience: float = PATIENCE
) -> Any:
    """Let `world_size` processes do a job of `worker.JOBS` together, one thread or one GPU each.

    Args:
        job: its name.
        world_size: how many.
        options: what the job takes, as JSON can hold it.
        on_gpu: over NCCL, each on the GPU of its rank; else over gloo.
        patience: seconds, after which all are ended.

    Returns:
        What the first process found.

    Raises:
        WorkerLostError: one failed, or did not end in time; the others are ended too.
    """
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "TORCH_CPP_LOG_LEVEL": "ERROR"}
    root = str(Path(__file__).parents[2])  # a checkout need not be installed
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, [root, environment.get("PYTHONPATH", "")]))
    with tempfile.TemporaryDirectory(prefix="d2l-bench-") as folder:
        processes = []
        try:
            for rank in range(world_size):
                task = {"job": job, "rank": rank, "world_size": world_size, "folder": folder, "on_gpu": on_gpu}
                path = Path(folder, f"task-{rank}")
                path.write_text(json.dumps(task | {"options": dict(options)}))
                with open(Path(folder, f"errors-{rank}"), "wb") as errors:
                    command = [sys.executable, "-m", MODULE, str(path)]
                    processes.append(subprocess.Popen(command, stderr=errors, env=environment))
            _wait(processes, time.monotonic() + patience, Path(folder))
            return json.loads(Path(folder, "result").read_text())
        finally:
            for process in processes:
                if process.poll() is None:
                    process.kill()
                process.wait()


def _wait(processes: list[subprocess.Popen[bytes]], deadline: float, folder: Path) -> None:
    """Until all have ended well.

    Raises:
        WorkerLostError: see `run_processes`.
    """
    while any(process.poll() is None for process in processes) or any(process.returncode for process in processes):
        for rank, process in enumerate(processes):
            if process.poll():
                words = (folder / f"errors-{rank}").read_text(errors="replace").strip().splitlines()
                reason = clean(words[-1], 160) if words else f"exit code {process.returncode}"
                raise WorkerLostError(f"rank {rank} of {len(processes)} failed: {reason}", "try fewer processes")
        if time.monotonic() > deadline:
            late = next(rank for rank, process in enumerate(processes) if process.poll() is None)
            raise WorkerLostError(f"rank {late} of {len(processes)} did not end in time", "try --quick, or fewer")
        time.sleep(0.02)

"""Starting the processes of a run: by SLURM, on devices that there are not, and again after one was lost."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from runs import ROOT, environment, newest, rows, train

from d2lcli.errors import ConfigError, WorkerLostError
from d2lcli.training import launch
from d2lcli.training.slurm import first_node, join_slurm

SMALL = ("model=mlp", "model.hidden=[8]", "data.limit=40", "data.batch_size=8", "optim=sgd", "hardware.threads=1")
ON_CPU = ("hardware.device=cpu", "hardware.precision=fp32")


@pytest.mark.parametrize(
    ("nodes", "first"),
    [
        ("node7", "node7"),
        ("node7,node8", "node7"),
        ("node[007-009,012],other", "node007"),
        ("gpu-a[3,5-9]", "gpu-a3"),
        ("rack1n[2-4]x,rack2", "rack1n2x"),
    ],
)
def test_the_first_node_of_a_list(nodes: str, first: str) -> None:
    """As `scontrol show hostnames` expands them."""
    assert first_node(nodes) == first


def test_a_task_of_slurm_becomes_a_process_of_the_group() -> None:
    tasks = {"SLURM_PROCID": "5", "SLURM_NTASKS": "8", "SLURM_LOCALID": "1", "SLURM_JOB_NODELIST": "n[3-6]"}
    found = tasks | {"SLURM_JOB_ID": "123456"}
    assert join_slurm(found)
    assert {key: found[key] for key in found.keys() - tasks.keys() - {"SLURM_JOB_ID"}} == {
        "RANK": "5",
        "WORLD_SIZE": "8",
        "LOCAL_RANK": "1",
        "MASTER_ADDR": "n3",
        "MASTER_PORT": "23456",
    }


@pytest.mark.parametrize(("seen", "number"), [("5", "0"), ("4,5,6,7", "3"), ("", "3")])
def test_a_task_with_a_gpu_of_its_own_sees_it_as_the_first(seen: str, number: str) -> None:
    there = {"SLURM_PROCID": "7", "SLURM_NTASKS": "8", "SLURM_LOCALID": "3", "CUDA_VISIBLE_DEVICES": seen}
    assert join_slurm(there) and there["LOCAL_RANK"] == number


@pytest.mark.parametrize(
    "there", [{}, {"SLURM_NTASKS": "1", "SLURM_PROCID": "0"}, {"SLURM_NTASKS": "4", "SLURM_PROCID": "1", "RANK": "0"}]
)
def test_nothing_else_is_taken_for_a_task_of_slurm(there: dict[str, str]) -> None:
    before = dict(there)
    assert not join_slurm(there) and there == before


def test_a_run_under_slurm(tmp_path: Path) -> None:
    """Two tasks as srun starts them; the same run as by our own launcher, and only the first task writes."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    words = ["train", "strategy=ddp", *SMALL, *ON_CPU, "epochs=1", "--run-dir", str(tmp_path / "run")]
    common = {"SLURM_NTASKS": "2", "SLURM_JOB_NODELIST": "localhost", "MASTER_PORT": port, "GLOO_SOCKET_IFNAME": "lo"}
    tasks = [
        subprocess.Popen(
            [sys.executable, "-m", "d2lcli", *words],
            env=environment(SLURM_PROCID=str(rank), SLURM_LOCALID=str(rank), **common),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    ended = [task.communicate(timeout=100) for task in tasks]
    assert [task.returncode for task in tasks] == [0, 0], ended
    assert [out.splitlines() for out, _ in ended] == [[str(tmp_path / "run")], []]
    assert "on 2 processes" in ended[0][1]
    state = json.loads((newest(tmp_path / "run") / "state.json").read_text())
    assert len(state["ranks"]) == 2


def test_more_devices_than_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
    for device in ("auto", "cuda"):
        with pytest.raises(ConfigError, match=r"8 devices are asked for, but .* no GPU .* 2 CPU") as told:
            launch.check_devices({"device": device, "devices": 8}, "fsdp")
        assert "hardware=fsdp hardware.device=cpu hardware.devices=8" in told.value.hint
    launch.check_devices({"device": "auto", "devices": 2}, "ddp")
    launch.check_devices({"device": "cpu", "devices": 8}, "ddp")
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 4)
    with pytest.raises(ConfigError, match="8 devices are asked for, but this machine has 4 GPUs"):
        launch.check_devices({"device": "auto", "devices": 8}, "ddp")


def test_restarts_are_counted(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Lost, lost with its own word, then done; and lost once too often."""
    outcomes: list[int | Exception] = [WorkerLostError("rank 1 was killed"), 7, 0]

    def once(arguments: list[str], processes: int) -> int:
        outcome = outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    monkeypatch.setattr(launch, "_launch", once)
    assert launch.launch([], 2, restarts=3) == 0
    assert "rank 1 was killed; restart 1 of 3" in capsys.readouterr().err
    outcomes[:] = [2]
    assert launch.launch([], 2, restarts=3) == 2  # a wrong config stays wrong
    outcomes[:] = [7, WorkerLostError("rank 0 was killed")]
    with pytest.raises(WorkerLostError):
        launch.launch([], 2, restarts=1)


@pytest.mark.slow
def test_a_lost_process_and_a_restart(tmp_path: Path) -> None:
    """A worker is killed after the first checkpoint; the run ends by itself as it would have, to the bit."""
    words = [*SMALL, "hardware=ddp", *ON_CPU, "hardware.devices=2", "epochs=60", "checkpoint_every=5"]
    command = [sys.executable, "-m", "d2lcli", "train", *words, "strategy.max_restarts=2", "--run-dir"]
    with subprocess.Popen(
        [*command, str(tmp_path / "run")], env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            deadline = time.monotonic() + 60
            while not (tmp_path / "run" / "checkpoints" / "last").exists():
                assert process.poll() is None and time.monotonic() < deadline
                time.sleep(0.02)
            for child in psutil.Process(process.pid).children(recursive=True):
                if child.environ().get("RANK") == "1":
                    child.kill()
            out, told = process.communicate(timeout=120)
        finally:
            process.send_signal(signal.SIGTERM)
    assert process.returncode == 0, told
    assert "rank 1 was killed by SIGKILL; the others were stopped; restart 1 of 2" in told
    assert re.search(r"resumed at step \d+", told) and out.splitlines() == [str(tmp_path / "run")]
    train(tmp_path / "whole", *SMALL, "hardware=cpu", "epochs=60")
    found, expected = rows(tmp_path / "run", "train")[-1], rows(tmp_path / "whole", "train")[-1]
    assert (found["step"], len(rows(tmp_path / "run", "val"))) == (300, 60)
    assert found["values"] == pytest.approx(expected["values"], rel=1e-3)


def test_a_port_that_is_taken_is_named(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        group = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        done = subprocess.run(
            [sys.executable, "-m", "d2lcli", "train", "strategy=ddp", *SMALL, *ON_CPU, "--run-dir", tmp_path / "run"],
            env=environment(**group),
            capture_output=True,
            text=True,
            timeout=100,
            cwd=ROOT,
        )
    assert done.returncode == 2, done.stderr
    assert f"127.0.0.1:{port}" in done.stderr and "Traceback" not in done.stderr

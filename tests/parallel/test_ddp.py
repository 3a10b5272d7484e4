"""Two real processes over gloo against one process on the same global batches, and what happens when one is lost."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from runs import ROOT, d2l, environment, everything, newest, outcome, resume, rows, train, without_times
from safetensors.torch import load_file

from d2lcli.errors import ConfigError
from d2lcli.parallel.ddp import DataParallel
from d2lcli.training import launch

PLUGIN = '''
"""Batch norm and dropout in a few weights."""
from torch import nn
from d2lcli.registry import MODELS

def norm_net(num_classes: int = 10) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 2, 5, stride=4), nn.BatchNorm2d(2), nn.ReLU(), nn.Flatten(), nn.Dropout(0.2),
        nn.Linear(72, num_classes),
    )

MODELS.register("norm_net", norm_net, "From a test", task="classification", data="fashion_mnist_mini")
'''

# 42 examples by 8 of two processes: the last batch has 2, and each update is two batches of 4 and 4 a process.
DATA = ("data.limit=42", "data.batch_size=8", "epochs=2", "log_every=2", "optim=sgd", "hardware.threads=1")
PLAIN = ("model=mlp", "model.hidden=[8]", "accumulate=4", *DATA)
DDP = ("hardware=ddp", "hardware.device=cpu", "hardware.precision=fp32", "hardware.devices=2")
RANDOM = ("model=norm_net", "ema=0.8", "data.flip=true", "epochs=3", "checkpoint_every=3")


@pytest.fixture(scope="module")
def plugin(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment whose Python finds the test's model."""
    folder = tmp_path_factory.mktemp("plugin")
    (folder / "norm_plugin.py").write_text(PLUGIN)
    return environment(PYTHONPATH=os.pathsep.join([str(ROOT), str(folder)]))


def test_the_same_as_one_process(tmp_path: Path) -> None:
    """No batch norm, no dropout: only the order of float32 sums differs.  The weights of uneven batches are right."""
    done = d2l("train", *PLAIN, *DDP, "--run-dir", tmp_path / "two", "--json")
    assert done.returncode == 0, done.stderr
    train(tmp_path / "one", *PLAIN, "hardware=cpu")
    two, one = (load_file(newest(tmp_path / name) / "model.safetensors") for name in ("two", "one"))
    assert two.keys() == one.keys()
    for name in one:
        torch.testing.assert_close(two[name], one[name], rtol=1e-4, atol=1e-5)
    for found, expected in zip(rows(tmp_path / "two"), rows(tmp_path / "one"), strict=True):
        assert found.pop("values") == pytest.approx(expected.pop("values"), rel=1e-4)
        assert found == expected  # step, epoch, split
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["metrics"]["accuracy"] == rows(tmp_path / "one", "val")[-1]["values"]["accuracy"]
    assert (result["status"], result["run"]) == ("finished", str(tmp_path / "two"))
    assert "on 2 processes" in done.stderr and "Traceback" not in done.stderr
    with pytest.raises(ConfigError, match=r"hardware\.devices|strategy"):
        resume(tmp_path / "two", "strategy=single", "hardware.devices=1")


EXACT = '''
"""One step of two processes in float64, for the test beside this text."""
import json, os, sys
import torch
from torch import nn
from d2lcli.data.loader import part
from d2lcli.parallel.ddp import ddp

strategy = ddp()
torch.manual_seed(0)
model = nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 1)).double()
inputs, targets = torch.randn(7, 6, dtype=torch.float64), torch.randn(7, 1, dtype=torch.float64)
module = strategy.wrap(model)
low, high = part(7, strategy.rank, strategy.world_size)
loss = (module(inputs[low:high]) - targets[low:high]).square().mean()
(loss * (high - low) * strategy.world_size / 7).backward()
total = strategy.sum(torch.tensor([float(strategy.rank + 1)]))
parts = strategy.gather(b"x" * (strategy.rank + 1))
largest = strategy.agree(10 + strategy.rank)
gradients = [parameter.grad.flatten().tolist() for parameter in model.parameters()]
if strategy.rank == 1:
    print(json.dumps([gradients, total.item(), [part.decode() for part in parts], largest]))
strategy.close()
'''


def processes(*command: str, folder: Path) -> list[subprocess.Popen[str]]:
    """Two processes of one group that meet in a file."""
    group = {"WORLD_SIZE": "2", "D2L_MEETING": str(folder / "meeting")}
    return [
        subprocess.Popen(
            [sys.executable, *command],
            env=environment(RANK=str(rank), LOCAL_RANK=str(rank), **group),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]


def test_gradients_in_float64(tmp_path: Path) -> None:
    """4 and 3 examples of a batch of 7, to 1e-12 of torch's gradient of the whole batch."""
    (tmp_path / "exact.py").write_text(EXACT)
    outputs = [process.communicate(timeout=60) for process in processes(str(tmp_path / "exact.py"), folder=tmp_path)]
    gradients, total, parts, largest = json.loads(outputs[1][0])
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(6, 5), torch.nn.Tanh(), torch.nn.Linear(5, 1)).double()
    inputs, targets = torch.randn(7, 6, dtype=torch.float64), torch.randn(7, 1, dtype=torch.float64)
    (model(inputs) - targets).square().mean().backward()
    for found, parameter in zip(gradients, model.parameters(), strict=True):
        assert parameter.grad is not None
        assert found == pytest.approx(parameter.grad.flatten().tolist(), rel=1e-12, abs=1e-15)
    assert (total, parts, largest) == (3.0, ["x", "xx"], 11)


def workers(process: "subprocess.Popen[Any]") -> dict[int, psutil.Process]:
    """The trainers that a launcher started, by rank."""
    found = {}
    for child in psutil.Process(process.pid).children(recursive=True):
        try:
            environ = child.environ()
        except psutil.Error:
            continue
        if "RANK" in environ:
            found[int(environ["RANK"])] = child
    return found


def wait_for(path: Path, process: "subprocess.Popen[Any]") -> None:
    deadline = time.monotonic() + 60
    while not path.exists():
        assert process.poll() is None and time.monotonic() < deadline, f"{path} did not come"
        time.sleep(0.02)


@pytest.fixture
def started(plugin: dict[str, str]) -> Iterator[Any]:
    """Starts a distributed run and waits for its first checkpoint; nothing of it is left at the end."""
    running: list[tuple[subprocess.Popen[str], list[psutil.Process]]] = []

    def start(folder: Path, *words: str) -> tuple["subprocess.Popen[str]", dict[int, psutil.Process]]:
        command = [sys.executable, "-m", "d2lcli", "--plugin", "norm_plugin", "train", *words, "--run-dir", str(folder)]
        process = subprocess.Popen(command, env=plugin, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        running.append((process, []))
        wait_for(folder / "checkpoints" / "last", process)
        found = workers(process)
        running[-1] = (process, list(found.values()))
        return process, found

    yield start
    for process, children in running:
        for victim in (process, *children):
            try:
                victim.kill()
            except psutil.NoSuchProcess:
                pass
        process.communicate(timeout=30)


def ended(children: dict[int, psutil.Process], seconds: float) -> bool:
    """Whether all are gone, or only wait for somebody to read their exit code."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if all(not child.is_running() or child.status() == psutil.STATUS_ZOMBIE for child in children.values()):
            return True
        time.sleep(0.05)
    return False


LONG = ("epochs=100000", "checkpoint_every=5")


def test_stopped_and_resumed(tmp_path: Path, plugin: dict[str, str], started: Any) -> None:
    """Batch norm, dropout, a moving average, augmentation: each process's masks go on where they were.

    The moving average of running statistics is the first process's, so that what was evaluated is what was saved.
    """
    words = (*DATA, *RANDOM, *DDP, "epochs=30", "accumulate=2")
    process, children = started(tmp_path / "run", *words)
    process.send_signal(signal.SIGTERM)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 143 and "stopped by SIGTERM at step" in told and "Traceback" not in told
    assert ended(children, 5)
    stop = re.search(r"stopped by SIGTERM at step (\d+)", told)
    # A stop that falls on a scheduled checkpoint writes no other one: its name has no ending.
    assert stop and int(stop[1]) < 90 and newest(tmp_path / "run").name.startswith(f"step-{int(stop[1]):08d}")
    again = d2l("--plugin", "norm_plugin", "train", "--resume", tmp_path / "run", env=plugin)
    assert again.returncode == 0 and "resumed at step" in again.stderr, again.stderr
    whole = d2l("--plugin", "norm_plugin", "train", *words, "--run-dir", tmp_path / "whole", env=plugin)
    assert whole.returncode == 0, whole.stderr
    found, expected = outcome(tmp_path / "run"), outcome(tmp_path / "whole")
    assert [name for name in expected if found[name] != expected[name]] == []
    ranks = found["state.json"]["ranks"]
    assert len(ranks) == 2 and ranks[0]["random"]["torch"] != ranks[1]["random"]["torch"]
    judged = d2l("--plugin", "norm_plugin", "evaluate", tmp_path / "run", "--checkpoint", "last", "--json", env=plugin)
    assert judged.returncode == 0, judged.stderr
    assert json.loads(judged.stdout)["metrics"] == pytest.approx(rows(tmp_path / "run", "val")[-1]["values"], rel=1e-5)


@pytest.mark.parametrize("victim", [1, pytest.param(0, marks=pytest.mark.slow)])
def test_a_process_is_killed(victim: int, tmp_path: Path, started: Any) -> None:
    process, children = started(tmp_path / "run", *PLAIN, *DDP, *LONG)
    start = time.monotonic()
    children[victim].kill()
    _, told = process.communicate(timeout=60)
    assert time.monotonic() - start < 30
    assert process.returncode == 7, told
    assert f"the process of rank {victim} was killed by SIGKILL" in told
    assert "Traceback" not in told and "a bug in d2l" not in told
    assert ended(children, 5)


@pytest.mark.slow
def test_the_launcher_is_killed(tmp_path: Path, started: Any) -> None:
    process, children = started(tmp_path / "run", *PLAIN, *DDP, *LONG)
    process.kill()
    assert ended(children, 15)


@pytest.mark.slow
def test_a_process_hangs(tmp_path: Path, started: Any) -> None:
    process, children = started(tmp_path / "run", *PLAIN, *DDP, *LONG, "strategy.timeout=5")
    children[1].suspend()
    _, told = process.communicate(timeout=60)
    assert process.returncode == 7, told
    assert "rank 1 did not answer" in told
    assert "Traceback" not in told and "a bug in d2l" not in told
    assert ended(children, 5)


@pytest.mark.slow
def test_each_process_keeps_its_batch_where_the_loss_is_not_finite(tmp_path: Path) -> None:
    done = d2l("train", *PLAIN, *DDP, "optim.lr=1e30", "--run-dir", tmp_path / "run")
    assert done.returncode == 5, done.stderr
    assert "before the update" in done.stderr and "Traceback" not in done.stderr
    kept = list((tmp_path / "run").glob("nonfinite-rank[01]/batch.safetensors"))
    assert kept  # the launcher ends the others at the first failure: at least one has kept its own
    assert all(len(load_file(path)["targets"]) == 4 for path in kept)


def test_under_torchrun(tmp_path: Path) -> None:
    words = ["train", "strategy=ddp", *PLAIN, "hardware.device=cpu", "hardware.precision=fp32", "--run-dir"]
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "d2lcli"]
    command += [*words, str(tmp_path / "two")]
    with subprocess.Popen(
        command, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as torchrun:
        try:
            out, told = torchrun.communicate(timeout=90)
        finally:
            torchrun.terminate()  # it takes its workers along
    assert torchrun.returncode == 0, told
    assert out.splitlines() == [str(tmp_path / "two")]
    d2l("train", *PLAIN, *DDP, "--run-dir", tmp_path / "own")
    weights = [(newest(tmp_path / name) / "model.safetensors").read_bytes() for name in ("two", "own")]
    assert weights[0] == weights[1]
    assert without_times(rows(tmp_path / "two")) == without_times(rows(tmp_path / "own"))


def test_one_of_several_processes_needs_a_parallel_strategy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In this process: a group of torchrun's, but `strategy=single`."""
    from d2lcli.__main__ import main

    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert main(["train", *PLAIN, "--run-dir", str(tmp_path / "run")]) == 2
    assert everything(tmp_path) == {}


def test_ddp_without_a_group() -> None:
    from d2lcli.parallel.ddp import ddp

    with pytest.raises(ValueError, match="no process group; use hardware=ddp"):
        ddp()


def test_a_run_of_one_process_is_not_resumed_by_two(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train(tmp_path / "run", *PLAIN, "hardware=cpu")
    state = newest(tmp_path / "run") / "state.json"
    assert len(json.loads(state.read_text())["ranks"]) == 1
    with pytest.raises(ConfigError, match="would change the course of the run"):
        resume(tmp_path / "run", *DDP)


class Failure:
    """What torch's launcher says of a process."""

    def __init__(self, exitcode: int, timestamp: int = 1000) -> None:
        self.exitcode = exitcode
        self.timestamp = timestamp


@pytest.mark.parametrize(
    ("codes", "expected"),
    [
        ({0: 7, 1: -9}, "rank 1 was killed by SIGKILL"),
        ({0: -11, 1: 7}, "rank 0 was killed by SIGSEGV"),
        ({1: 77}, "rank 1 ended with exit code 77"),
    ],
)
def test_the_process_that_was_killed_is_named(codes: dict[int, int], expected: str) -> None:
    """Not the one that noticed first."""
    from d2lcli.errors import WorkerLostError

    with pytest.raises(WorkerLostError, match=expected) as caught:
        launch.explain({rank: Failure(code) for rank, code in codes.items()})
    assert caught.value.exit_code == 7


def test_a_process_that_hung_was_not_killed_by_somebody_else() -> None:
    """The launcher had to end it, long after the other one gave up."""
    from d2lcli.errors import WorkerLostError

    with pytest.raises(WorkerLostError, match="rank 1 did not answer"):
        launch.explain({0: Failure(7), 1: Failure(-9, 1000 + launch.GRACE)})


@pytest.mark.parametrize(("codes", "expected"), [({0: 5}, 5), ({1: 2, 0: 2}, 2), ({0: 143, 1: 143}, 143), ({0: 7}, 7)])
def test_a_process_that_has_said_why(codes: dict[int, int], expected: int) -> None:
    assert launch.explain({rank: Failure(code) for rank, code in codes.items()}) == expected


@pytest.mark.parametrize(
    ("text", "lost"),
    [
        (
            "[/x/third_party/gloo/gloo/transport/tcp/pair.cc:537] Read error [127.0.0.1]:1: Connection reset by peer.",
            True,
        ),
        ("[../third_party/gloo/gloo/transport/tcp/unbound_buffer.cc:81] Timed out waiting 5000ms for recv", True),
        ("mat1 and mat2 shapes cannot be multiplied", False),
    ],
)
def test_what_counts_as_a_lost_connection(text: str, lost: bool) -> None:
    assert DataParallel.lost(RuntimeError(text)) is lost

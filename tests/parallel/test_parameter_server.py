"""Parameter servers step by step in float64, and a run."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from group import run_cases
from runs import d2l, newest, rows, train
from safetensors.torch import load_file
from steps import difference, numbers
from steps import train as steps
from torch import nn

from d2lcli.parallel.parameter_server import ParameterServer, parameter_server
from d2lcli.parallel.single import single

SIZES = (8, 7, 5)
made: list[ParameterServer] = []  # the group of this process, which can be joined but once


def begin() -> None:
    import os

    made.append(parameter_server(servers=int(os.environ["WORLD_SIZE"]) // 2))


def strategy(mode: str) -> ParameterServer:
    new = object.__new__(ParameterServer)
    new.__dict__ |= made[0].__dict__ | {"mode": mode}
    return new


def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 3)).double()


def run(mode: str) -> float:
    """Three updates beside those of one process; a server returns -1."""
    chosen, model = strategy(mode), net()
    if chosen.serves:
        from d2lcli.registry import OPTIMIZERS

        chosen.bind(OPTIMIZERS.build("adamw", params=list(model.parameters()), lr=0.01))
        chosen.wrap(model)
        chosen.serve()
        return -1.0
    found = steps(chosen, model, numbers(SIZES))
    for server in range(chosen.num_servers):
        chosen._ask(server, 0)
    return difference(found, steps(single(), model, numbers(SIZES)))


def case_sync() -> float:
    return run("sync")


def case_async() -> float:
    return run("async")


@pytest.fixture(scope="module", params=[3, *(pytest.param(count, marks=pytest.mark.slow) for count in (2, 4))])
def outcome(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Any]]:
    """2 workers and 1 server, 1 worker and 1 server, 2 workers and 2 servers."""
    return run_cases(__file__, request.param, tmp_path_factory.mktemp("group"))


def test_in_rounds_it_equals_one_process(outcome: dict[str, list[Any]]) -> None:
    workers = [found for found in outcome["sync"] if found >= 0]
    assert len(workers) == len(outcome["sync"]) - len(outcome["sync"]) // 2
    assert all(found < 1e-12 for found in workers)


def test_as_they_come_one_worker_equals_one_process_and_several_do_not(outcome: dict[str, list[Any]]) -> None:
    workers = [found for found in outcome["async"] if found >= 0]
    assert workers[0] < 1e-12 if len(workers) == 1 else max(workers) > 1e-4


RUN = ("model=mlp", "model.hidden=[8]", "data.limit=40", "data.batch_size=8", "log_every=3", "hardware.threads=1")


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["sync", "async"])
def test_a_run_and_its_resume(tmp_path: Path, mode: str) -> None:
    words = [*RUN, "hardware=parameter_server", f"strategy.mode={mode}", "optim=momentum", "optim.lr=0.01"]
    done = d2l("train", *words, "epochs=2", "--run-dir", tmp_path / "run", timeout=120)
    assert done.returncode == 0 and "workers: 2, parameter servers: 1" in done.stderr, done.stderr
    again = d2l("train", "--resume", tmp_path / "run", "epochs=3", timeout=120)
    assert again.returncode == 0 and "resumed at step 10" in again.stderr, again.stderr
    state = json.loads((newest(tmp_path / "run") / "state.json").read_text())
    assert len(state["ranks"]) == 2
    if mode == "sync":
        train(tmp_path / "one", *RUN, "hardware=cpu", "optim=momentum", "optim.lr=0.01", "epochs=3")
        for found, expected in zip(rows(tmp_path / "run"), rows(tmp_path / "one"), strict=True):
            assert found["values"] == pytest.approx(expected["values"], rel=1e-3)
    else:
        losses = [row["values"]["loss"] for row in rows(tmp_path / "run", "val")]
        assert losses[-1] < losses[0]
        assert all(
            slot.abs().sum() > 0 for slot in load_file(newest(tmp_path / "run") / "optimizer.safetensors").values()
        )


def test_a_worker_is_needed() -> None:
    with pytest.raises(ValueError, match="no process group; use hardware=parameter_server"):
        parameter_server()

"""Real processes over gloo: collectives against torch's, and workers that fail, hang or are too many."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from runs import ROOT

from d2lcli.errors import WorkerLostError
from d2lcli.hardware import collectives, scaling
from d2lcli.hardware.bench import Bench, Row
from d2lcli.hardware.measure import exactly
from d2lcli.hardware.processes import run_processes

SCRIPT = Path(__file__).with_name("worker_jobs.py")


def together(folder: Path, ranks: int) -> list[dict[str, Any]]:
    """What each rank of the script found."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    started = [
        subprocess.Popen([sys.executable, str(SCRIPT), str(rank), str(ranks), str(folder)], env=environment)
        for rank in range(ranks)
    ]
    assert [process.wait(120) for process in started] == [0] * ranks
    return [json.loads((folder / f"found-{rank}").read_text()) for rank in range(ranks)]


@pytest.mark.parametrize("ranks", [2, pytest.param(3, marks=pytest.mark.slow)])
def test_sums_are_torch_s_and_the_same_to_the_bit_on_all_ranks(ranks: int, tmp_path: Path) -> None:
    found = together(tmp_path, ranks)
    for name, (right, _) in found[0].items():
        assert right, name
    for other in found[1:]:
        for name in other:
            if name.startswith(("naive", "ring")):
                assert other[name] == found[0][name], name
    gathered = [float(rank + 1) for rank in range(ranks) for _ in range(4)]
    assert [entry["gathered"][1] for entry in found] == [gathered] * ranks


def test_a_job_of_two_counts_no_wrong_sums() -> None:
    found = run_processes("collectives", 2, {"sizes": [64, 4096], "repeats": 2})
    assert [(row["name"], row["bytes"]) for row in found[:2]] == [("all_reduce", 64), ("all_reduce, naive", 64)]
    assert len(found) == 10
    assert {row["wrong"] for row in found} == {0}
    assert all(row["times"]["median"] > 0 and row["times"]["n"] == 2 * 8 * 4 for row in found)


def test_a_job_that_fails_names_its_rank_and_leaves_nobody(capfd: pytest.CaptureFixture[str]) -> None:
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    with pytest.raises(WorkerLostError, match=r"rank \d of 2 failed: .*repeats"):
        run_processes("collectives", 2, {"sizes": [64]})
    assert {child.pid for child in psutil.Process().children(recursive=True)} <= before
    assert capfd.readouterr() == ("", "")


def test_a_job_that_does_not_end_is_ended() -> None:
    start = time.monotonic()
    with pytest.raises(WorkerLostError, match="rank 0 of 2 did not end in time"):
        run_processes("collectives", 2, {"sizes": [64], "repeats": 10**9}, patience=0.5)
    assert time.monotonic() - start < 30
    assert not [child for child in psutil.Process().children() if "hardware.worker" in " ".join(child.cmdline())]


TIMES = {"median": 2.0, "best": 1.0, "low": 1.5, "high": 3.0, "n": 5}


def bench(processes: int, cores: int) -> Bench:
    return Bench(torch.device("cpu"), processes=processes, cores=cores)


def test_bandwidths_are_those_of_the_whole_array(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = [{"name": "all_reduce, ring", "bytes": 4 * 10**9, "wrong": 0, "times": TIMES}]
    monkeypatch.setattr(collectives, "run_processes", lambda *_, **__: answer)
    (row,) = collectives.rows(bench(4, 4))
    assert isinstance(row, Row)
    assert row.figure.median == pytest.approx(2.0)  # 4 GB in 2 s
    assert row.facts["bus"] == pytest.approx(3.0)  # times 2 (4 - 1) / 4
    assert "shared-memory loopback" in row.note and "0 wrong" in row.note
    assert "oversubscribed" not in row.note
    (row,) = collectives.rows(bench(4, 2))
    assert isinstance(row, Row) and "oversubscribed" in row.note


def test_more_processes_than_cores_have_a_word_and_no_efficiency(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = {"strong": TIMES, "weak": TIMES, "strong_talk": 0.25, "weak_talk": 0.25}
    monkeypatch.setattr(scaling, "run_processes", lambda *_, **__: answer)
    found = [row for row in scaling.rows(bench(4, 2)) if isinstance(row, Row)]
    notes = {(row.what, row.workers): row.note for row in found}
    assert notes["training, strong scaling", "2 ranks"] == "efficiency 50%, communication 25%"
    assert notes["training, weak scaling", "2 ranks"] == "efficiency 100%, communication 25%"
    assert notes["training, strong scaling", "4 ranks"] == "oversubscribed"
    assert notes["training, weak scaling", "4 ranks"] == "oversubscribed"
    assert len(found) == 5
    weak = next(row for row in found if row.what.endswith("weak scaling") and row.facts["ranks"] == 4)
    assert weak.figure.median == 4 * scaling.WORK / 2.0


def test_one_process_has_nobody_to_talk_to() -> None:
    for probe in (collectives.rows, scaling.rows):
        assert ["--cpus N" in str(row) for row in probe(bench(1, 2))] == [True]


@pytest.mark.slow
def test_processes_train_together() -> None:
    found = run_processes("scaling", 2, {"repeats": 2})
    assert set(found) == {"strong", "weak", "strong_talk", "weak_talk"}
    assert 0 <= found["weak_talk"] <= 1 and exactly(found["weak"]["median"]).median > 0

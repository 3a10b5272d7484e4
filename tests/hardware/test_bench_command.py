"""`d2l bench` and `d2l train --plan` from outside: words, exit codes, JSON, and the profile between them."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from rows import rates
from runs import LINEAR, MLP

from d2lcli.__main__ import main
from d2lcli.commands.completion import candidates
from d2lcli.hardware import machine
from d2lcli.hardware.profile import load_profile, profile_path, save_profile
from d2lcli.hardware.tables import cells, short, table


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A cache of this test's own, and threads as they were."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(torch, "set_num_threads", lambda count: None)
    return tmp_path / "cache"


def made_up_profile() -> Path:
    found = machine.machine(torch.get_num_threads())
    path = profile_path(found)
    save_profile(path, found, rates())
    return path


def test_more_gpus_than_there_are_is_one_line_and_three_ways_on(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert main(["bench", "--gpus", "8"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    error, hint = err.splitlines()
    assert error == "error: --gpus 8: this machine has none that torch can use"
    assert all(way in hint for way in ("without --gpus", "--gpus 8 --simulate", "--cpus 8"))


def test_fewer_gpus_are_never_measured_silently(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert main(["benchmark-hardware", "--gpus", "8"]) == 2
    assert "--gpus 8: this machine has 2" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["compte"], "unknown topic 'compte'; did you mean 'compute'?"),
        (["memory", "zzz"], "unknown topic 'zzz' (known: compute, "),
        (["--gpus", "1", "--cpus", "1"], "--gpus and --cpus"),
    ],
)
def test_bad_words_are_one_line(words: list[str], expected: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", *words]) == 2
    assert expected in capsys.readouterr().err


@pytest.mark.parametrize("words", [["--cpus", "0"], ["--gpus", "-1"], ["--cpus", "many"]])
def test_numbers_out_of_range_are_refused(words: list[str]) -> None:
    assert main(["bench", *words]) == 2


def test_a_simulation_prints_the_book_s_figures(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "--gpus", "8", "--simulate"]) == 0
    lines = capsys.readouterr().out.splitlines()
    models = [line for line in lines if line.startswith("MODEL ")]
    assert any("5.926" in line and "about 6 ms" in line for line in models)
    assert any("5.185" in line for line in models)
    for book in ("60 ms", "80 ms", "15 ms"):
        assert any(line.rstrip().endswith(book) for line in models)


def test_a_simulation_as_json_says_that_it_is_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "--simulate", "--cpus", "4", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["rows"] and all(row["model"] and row["n"] == 0 for row in found["rows"])
    assert found["profile"] is None


def test_a_topic_is_printed_and_kept(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "transfer", "storage", "--quick", "--cpus", "1"]) == 0
    out, err = capsys.readouterr()
    assert err.splitlines() == [*(f"measuring pass {n} of 4" for n in (1, 2, 3)), "measuring storage"]
    for word in ("torch ", "load average", "MEDIAN", "P10..P90", "the product's loader", "there is no GPU"):
        assert word in out
    kept = load_profile(Path(out.splitlines()[-1].removeprefix("profile: ")))
    assert kept is not None and {row["topic"] for row in kept["rows"]} == {"storage"}


@pytest.mark.slow
def test_every_topic_is_measured_by_quick(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "--quick", "--cpus", "2", "--plot", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert {row["topic"] for row in found["rows"]} == {
        "compute", "memory", "launch", "layers", "models", "precision", "sequence", "storage", "collectives",
        "scaling", "roofline",
    }  # fmt: skip
    for row in found["rows"]:
        assert row["workers"] and row["dtype"] and isinstance(row["n"], int)
        assert all(math.isfinite(row[part]) for part in ("median", "best", "low", "high"))
    assert Path(found["plot"]).exists()
    assert load_profile(Path(found["profile"])) is not None


def test_figures_are_short() -> None:
    values = {0.0: "0", 0.001234: "0.00123", 12.34: "12.3", 1234.0: "1,230", 3.4e38: "3.40e+38", 1e-5: "1.00e-05"}
    assert {value: short(value) for value in values} == values
    assert short(5.1852, 4) == "5.185"


def test_rows_for_the_profile_and_empty_columns_are_not_shown() -> None:
    shown, hidden = rates()[:2]
    headers, lines = table([shown, hidden | {"detail": True}])
    assert len(lines) == 1
    assert "book" not in headers and "note" not in headers and {"median", "p10..p90", "n"} <= set(headers)
    assert cells(shown | {"n": 0})[5:7] == ["", ""]


def test_topics_are_completed() -> None:
    assert candidates("d2l bench co") == ["compute", "collectives"]
    assert candidates("d2l benchmark-hardware --qu") == ["--quick"]


def plan(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    assert main(["train", *words, "--plan", "--json"]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_a_plan_without_a_profile_knows_parameters_and_memory(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    found = plan(capsys, "model=mlp", "hardware=cpu")
    assert found["parameters"] == 784 * 256 + 256 + 256 * 10 + 10
    assert found["memory_bytes"] >= 4 * 4 * found["parameters"]  # AdamW: weights, gradients and two means
    assert found["step_seconds"] is None and "d2l bench" in found["problem"]
    assert [path.name for path in tmp_path.iterdir() if path.name != "cache"] == []  # nothing was trained


def test_a_plan_from_a_profile_predicts_a_step_and_the_run(capsys: pytest.CaptureFixture[str]) -> None:
    """1 GFLOP/s: three products of 784 x 8 or 8 x 10 and 8 examples each take what their multiply-adds say."""
    made_up_profile()
    found = plan(capsys, *MLP, "hardware.precision=fp32")
    flops = 2 * 8 * (2 * 784 * 8 + 3 * 8 * 10)
    assert found["forward_seconds"] + found["backward_seconds"] == pytest.approx(flops * 1e-9, rel=0.5)
    assert found["step_seconds"] > flops * 1e-9
    assert found["run_seconds"] == pytest.approx(15 * found["step_seconds"])
    assert found["share_of_peak"] == pytest.approx(flops * 1e-9 / found["step_seconds"], rel=1e-6)
    assert main(["train", *MLP, "--plan"]) == 0
    assert "ms predicted" in capsys.readouterr().out


def test_an_optimizer_that_decides_for_itself_is_not_predicted(capsys: pytest.CaptureFixture[str]) -> None:
    made_up_profile()
    found = plan(capsys, *LINEAR, "optim=newton")
    assert found["step_seconds"] is None and "the optimizer decides" in found["problem"]


def test_one_of_several_processes_is_planned(capsys: pytest.CaptureFixture[str]) -> None:
    found = plan(capsys, *MLP, "hardware=ddp", "hardware.devices=2", "hardware.device=cpu")
    assert (found["processes"], found["updates"]) == (2, 30)  # 4 of the 8 examples of each batch, by itself


def test_a_run_records_what_was_predicted_beside_what_it_took(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(["train", *MLP, "--run-dir", "before"]) == 0
    assert "machine" not in json.loads(Path("before/result.json").read_text())
    made_up_profile()
    assert main(["train", *MLP, "--run-dir", "after"]) == 0
    found = json.loads(Path("after/result.json").read_text())["machine"]
    assert found["step_seconds"] > 0 and found["predicted_step_seconds"] > 0
    assert found["bound"] in ("compute", "memory", "overhead", "input", "unknown")
    assert "predicted" in capsys.readouterr().err
    before, after = (tmp_path / name / "checkpoints/last/model.safetensors" for name in ("before", "after"))
    assert before.read_bytes() == after.read_bytes()

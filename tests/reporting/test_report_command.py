"""`d2l report` as a command: its files, its output, its errors, its speed."""

import fcntl
import json
import subprocess
import sys
import time
import webbrowser
from pathlib import Path

import pytest
from made_runs import assert_offline, make_run, read_page, row
from runs import MLP, environment, train

from d2lcli.__main__ import main
from d2lcli.training import figures

PNG = b"\x89PNG\r\n\x1a\n"


def test_one_run_s_report_lies_in_its_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = make_run(tmp_path / "run")
    assert main(["report", str(run)]) == 0
    out, err = capsys.readouterr()
    assert out == f"{run / 'report.html'}\n" and "4 curves as PNG" in err
    pictures = sorted((run / "report-curves").iterdir())
    assert [each.name for each in pictures] == ["00-loss.png", "01-accuracy.png", "02-lr.png", "03-grad_norm.png"]
    assert all(each.read_bytes().startswith(PNG) for each in pictures)


def test_several_runs_report_lies_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    make_run(tmp_path / "a")
    make_run(tmp_path / "b", lr=0.5)
    assert main(["report", "a", "b", "a", "--no-png"]) == 0
    assert capsys.readouterr().out == "report.html\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b", "report.html"]
    assert read_page((tmp_path / "report.html").read_text()).text.startswith("a, b - d2l report")


def test_json_names_files_and_figures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = make_run(tmp_path / "run", result={"status": "failed", "error": "no memory"})
    assert main(["report", str(run), "--json", "--no-png", "--output", str(tmp_path / "x.html")]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["report"] == str(tmp_path / "x.html") and found["pictures"] == []
    (facts,) = found["runs"]
    assert (facts["status"], facts["best"], facts["best_step"], facts["mode"]) == ("failed", 0.8125, 30, "max")
    assert facts["notes"] == ["failed: no memory"]


def test_reporting_again_replaces_the_report_and_leaves_the_run_alone(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    before = {path.name: path.read_bytes() for path in run.iterdir()}
    for _ in range(2):
        assert main(["report", str(run), "--no-png"]) == 0
    after = {path.name: path.read_bytes() for path in run.iterdir()}
    assert after.pop("report.html").startswith(b"<!DOCTYPE html>") and after == before


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["none"], 4, "no run in none"),
        (["run", "none"], 4, "no run in none"),
        (["run", "--output", "no/where.html"], 2, "there is no folder no"),
        (["run", "--output", "run"], 2, "a report is an HTML file"),
        (["run", "--output", "run/config.yaml"], 2, "a report is an HTML file"),
        (["run", "--output", "folder.html"], 2, "is a folder"),
        ([], 2, "RUN"),
        (["run", "--pgn"], 2, "did you mean '--png'"),
    ],
)
def test_mistakes(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    code: int,
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    make_run(tmp_path / "run")
    (tmp_path / "folder.html").mkdir()
    assert main(["report", *words]) == code
    out, err = capsys.readouterr()
    assert out == "" and said in err
    assert not (tmp_path / "run" / "report.html").exists()


def test_without_matplotlib_the_page_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make_run(tmp_path / "run")
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert figures
    assert main(["report", str(run)]) == 0
    out, err = capsys.readouterr()
    assert out == f"{run / 'report.html'}\n" and "matplotlib is not installed" in err and "d2lcli[plot]" in err


def test_open_shows_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    monkeypatch.setattr(webbrowser, "open", opened.append)
    run = make_run(tmp_path / "run")
    assert main(["report", str(run), "--no-png", "--open"]) == 0
    assert opened == [(run / "report.html").as_uri()]


def test_a_run_that_is_training_is_called_running(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its folder is locked, its last row half written."""
    run = make_run(tmp_path / "run", result={})
    with (run / "metrics.jsonl").open("a") as log:
        log.write('{"step": 41, "spl')
    with (run / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if str((run / ".lock").stat().st_ino) not in Path("/proc/locks").read_text():
            pytest.skip("this system does not list its locks")
        assert main(["report", str(run), "--no-png", "--json"]) == 0
    (facts,) = json.loads(capsys.readouterr().out)["runs"]
    assert (facts["status"], facts["steps"], facts["notes"]) == ("running", 40, [])


def test_a_real_run_s_page_has_what_its_files_have(tmp_path: Path) -> None:
    result = train(tmp_path / "run", *MLP, "task.metrics=[accuracy,confusion_matrix]")
    assert main(["report", str(tmp_path / "run"), "--no-png"]) == 0
    html = (tmp_path / "run" / "report.html").read_text()
    found = read_page(html)
    assert_offline(found, html)
    best = result["best"]["accuracy"]
    assert f"{best:.5g} at step {result['best']['step']}" in found.text
    assert f"{result['parameters']:,}" in found.text and "finished" in found.text
    assert any(repr(result["metrics"]["loss"]) in title for title in found.titles)
    total = sum(map(sum, result["metrics"]["confusion_matrix"]))
    assert f"of {total:g} are right ({result['metrics']['accuracy']:.1%})" in found.text
    assert html.count("<h3>training loss") == 0 and "learning rate" in found.text and "gradient norm" in found.text


def test_folds_of_a_cross_validation_are_its_runs(tmp_path: Path) -> None:
    cv = tmp_path / "cv"
    for fold in range(2):
        make_run(cv / f"fold-{fold}")
    make_run(cv / "x", result={"status": "finished", "cv": 2, "metrics": {"loss": 0.25}, "std": {"loss": 0.0625}})
    for name in ("config.yaml", "meta.json", "result.json"):
        (cv / "x" / name).rename(cv / name)
    assert main(["report", str(cv), "--no-png"]) == 0
    found = read_page((cv / "report.html").read_text()).text
    assert "cv: 2 folds" in found and "loss 0.25 0.0625" in found and "fold-1" in found


def test_a_page_is_made_without_torch_or_numpy(tmp_path: Path) -> None:
    make_run(tmp_path / "run")
    program = "import sys; from d2lcli.__main__ import main; code = main(sys.argv[1:]); "
    program += "print(code, {'torch', 'numpy', 'hydra', 'matplotlib', 'rich', 'optuna'} & set(sys.modules))"
    command = [sys.executable, "-c", program, "report", str(tmp_path / "run"), "--no-png"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment(), check=True)
    assert done.stdout.splitlines()[-1] == "0 set()"


def test_a_huge_log_takes_seconds(tmp_path: Path) -> None:
    """100,000 rows of three numbers; processor time, as other programs may share the machine."""
    log = [row(step, "train", loss=1 / step + step % 7, lr=0.1, grad_norm=1.0 + step % 3) for step in range(1, 100_001)]
    run = make_run(tmp_path / "run", log, result={})
    begun = time.process_time()
    assert main(["report", str(run), "--no-png"]) == 0
    assert time.process_time() - begun < 3
    assert (run / "report.html").stat().st_size < 500_000

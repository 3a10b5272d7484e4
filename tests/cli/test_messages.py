"""What a user sees when something is wrong: exit codes, one line each, nothing raw, on stderr."""

import os
import stat
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from d2lcli.__main__ import main
from d2lcli.commands import app as app_module
from d2lcli.commands.failures import report
from d2lcli.errors import CheckpointError, ConfigError, DataError, MemoryFullError, NonFiniteError, WorkerLostError
from d2lcli.training.signals import Stopped

D2L = [sys.executable, "-m", "d2lcli"]


def run(words: Sequence[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    code = main(list(words))
    seen = capsys.readouterr()
    return code, seen.out, seen.err


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["trian"], "d2l: unknown command 'trian'; did you mean 'train'?"),
        (
            ["zzz"],
            "d2l: unknown command 'zzz' "
            "(known: train, hpo, evaluate, generate, tokenize, diagnose, report, show, bench, benchmark-hardware, "
            "list, config, completion, data)",
        ),
        (["data", "lst"], "d2l data: unknown command 'lst'; did you mean 'list'?"),
        (["train", "--smok"], "unknown option '--smok'; did you mean '--smoke'?"),
        (["--verzion"], "unknown option '--verzion'; did you mean '--version'?"),
        (["list", "-Z"], "unknown option '-Z'"),
        (["list", "a", "b"], "Got unexpected extra argument(s) (b)"),
        (["evaluate"], "Missing argument 'RUN'."),
        (["train", "--plugin"], "option '--plugin' needs the name of a module"),
        (["list", "modell"], "unknown kind 'modell'; did you mean 'model'?"),
        (["completion", "bsh"], "completion: unknown shell 'bsh'; did you mean 'bash'? (known: bash, zsh, fish)"),
        (["config", "epochs=0"], "epochs: 0 is out of range: want >= 1 and <= 1,000,000,000 (command line)"),
        (["train", "optim.lr=abc"], "optim.lr: 'abc' is not a number (command line)"),
        (["show", "model=resnt18"], "model: unknown name 'resnt18'; did you mean 'resnet18'?"),
    ],
)
def test_usage_errors(words: list[str], error: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(words, capsys)
    assert (code, out) == (2, "")
    assert err.splitlines()[0].startswith(f"error: {error}")
    assert all(line.startswith(("error: ", "hint: ")) for line in err.splitlines())


def test_options_and_overrides_stand_in_any_order(capsys: pytest.CaptureFixture[str]) -> None:
    answers = {
        run(words, capsys)
        for words in (
            ["config", "epochs=3", "--json", "seed=1"],
            ["config", "--json", "epochs=3", "seed=1"],
            ["--debug", "config", "epochs=3", "seed=1", "--json"],
            ["config", "epochs=3", "--debug", "seed=1", "--json"],
        )
    }
    assert len(answers) == 1
    assert '"epochs": 3' in answers.pop()[1]


def test_a_run_may_stand_after_an_override(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []
    monkeypatch.setattr(
        "d2lcli.commands.evaluate.evaluate", lambda run, words, **options: seen.append((str(run), words))
    )
    for words in (["a=1", "runs/x", "b=2"], ["runs/x", "a=1", "b=2"], ["runs/lr=1"]):
        assert main(["evaluate", *words]) == 0
    assert seen == [("runs/x", ["a=1", "b=2"]), ("runs/x", ["a=1", "b=2"]), ("runs/lr=1", [])]


def test_nothing_at_all_prints_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run([], capsys)
    assert code == 0
    assert "Usage: d2l" in out


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConfigError("x"), 2),
        (DataError("x"), 3),
        (CheckpointError("x"), 4),
        (NonFiniteError("x"), 5),
        (MemoryFullError("x"), 6),
        (WorkerLostError("x"), 7),
        (Stopped(2), 130),
        (Stopped(15), 143),
        (KeyboardInterrupt(), 130),
        (MemoryError(), 6),
        (RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory"), 6),
        (OSError(28, "No space left on device", "/x/y"), 1),
        (BrokenPipeError(), 141),
    ],
)
def test_exit_codes(
    error: BaseException, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("d2lcli.commands.failures.discard", lambda stream: None)
    assert report(error, debug=False) == code
    assert "Traceback" not in capsys.readouterr().err


def test_an_os_error_names_its_file(capsys: pytest.CaptureFixture[str]) -> None:
    report(OSError(28, "No space left on device", "/x/\x1b[31my"), debug=False)
    assert capsys.readouterr().err == (
        "error: /x/\\x1b[31my: No space left on device\nhint: make room and run it again\n"
    )


def test_many_problems_are_cut(capsys: pytest.CaptureFixture[str]) -> None:
    report(ConfigError(["p" * 5000] * 300, "h"), debug=False)
    seen = capsys.readouterr().err
    assert len(seen) < 8192
    assert "error: and 288 more" in seen


def test_a_bug_leaves_a_private_crash_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("D2L_TEST_SECRET", "s3cr3t-value")
    monkeypatch.setattr(app_module, "app", lambda *args, **kwargs: 1 // 0)
    code, out, err = run(["list"], capsys)
    (crash,) = tmp_path.iterdir()
    assert (code, out) == (1, "")
    assert err.startswith("error: a bug in d2l: ZeroDivisionError: ") and str(crash) in err
    assert "Traceback" not in err
    assert "Traceback" in crash.read_text() and "s3cr3t-value" not in crash.read_text()
    assert stat.S_IMODE(crash.stat().st_mode) == 0o600


def test_debug_shows_the_traceback(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def fail(*args: Any, **kwargs: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(app_module, "app", fail)
    code, _, err = run(["list", "--debug"], capsys)
    assert code == 1
    assert "Traceback" in err


def shell(words: Sequence[str], **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*D2L, *words], text=True, check=False, timeout=60, **options)


def test_a_full_stdout_is_one_line() -> None:
    with open("/dev/full", "w") as full:
        done = shell(["list"], stdout=full, stderr=subprocess.PIPE)
    assert done.returncode == 1
    assert done.stderr.splitlines() == ["error: No space left on device", "hint: make room and run it again"]


def test_a_reader_that_leaves_is_no_error() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = shell(["list"], stdout=writer, stderr=subprocess.PIPE)
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, "")


def test_an_ascii_terminal_is_enough() -> None:
    environment = os.environ | {"LC_ALL": "C", "PYTHONIOENCODING": "ascii"}
    done = shell(["config", 'monitor="\u20ac"'], capture_output=True, env=environment)
    assert done.returncode == 2
    assert "monitor: '\\u20ac' is no value" in done.stderr


def test_a_closed_stderr_does_not_spoil_stdout() -> None:
    done = subprocess.run(
        ["sh", "-c", '"$@" 2>&-', "sh", *D2L, "list", "zz"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (2, "")

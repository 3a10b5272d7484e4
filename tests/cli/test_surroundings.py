"""Training in hostile surroundings: open modes, secrets, signals while starting, output that goes nowhere."""

import json
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from runs import LINEAR, MLP, d2l, environment, everything, stop_at, train

from d2lcli.__main__ import main

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Call:
    """The command in this process: exit code, stdout, stderr."""

    def run(*words: object) -> tuple[int, str, str]:
        code = main([str(word) for word in words])
        seen = capsys.readouterr()
        return code, seen.out, seen.err

    return run


def test_nothing_is_writable_by_others(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        train(tmp_path / "new" / "run", *LINEAR, "epochs=2")
    finally:
        os.umask(before)
    found = [tmp_path / "new", *(tmp_path / "new").rglob("*")]
    assert len(found) > 10
    assert [path for path in found if not path.is_symlink() and path.stat().st_mode & stat.S_IWOTH] == []


def test_a_folder_that_others_can_write_to_is_named(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop_at(monkeypatch, 7)
    call("train", *LINEAR, "--run-dir", tmp_path / "run")
    (tmp_path / "run").chmod(0o777)
    code, _, told = call("train", "--resume", tmp_path / "run")
    assert code == 0 and "warning: " in told and "can be written by every user" in told


def test_no_secret_of_the_environment_is_written(call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = "hunter2-8d1f0c5e7a"
    for name in ("WANDB_API_KEY", "HF_TOKEN", "AWS_SECRET_ACCESS_KEY", "MY_PASSWORD"):
        monkeypatch.setenv(name, secret)
    code, out, told = call("train", *MLP, "optim.lr=1e30", "--run-dir", tmp_path / "failed")
    assert code == 5
    train(tmp_path / "run", *MLP)
    content = b"".join(content for _, content in everything(tmp_path).values())
    assert len(content) > 10_000 and secret.encode() not in content and secret not in out + told


START = """
import os, signal, sys
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            os.kill(os.getpid(), signal.{signum})
sys.meta_path.insert(0, Finder())
from d2lcli.__main__ import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize(
    ("module", "signum", "code"),
    [
        ("d2lcli.commands.app", "SIGINT", 130),
        ("hydra", "SIGINT", 130),
        ("torch.nn.modules", "SIGINT", 130),
        ("d2lcli.data.synthetic", "SIGTERM", 143),
    ],
)
def test_stopped_while_starting(module: str, signum: str, code: int, tmp_path: Path) -> None:
    script = START.format(module=module, signum=signum)
    done = subprocess.run(
        [sys.executable, "-c", script, "train", *LINEAR, "--run-dir", str(tmp_path / "run")],
        env=environment(), capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (code, "")
    assert done.stderr.startswith(f"stopped by {signum}") and "Traceback" not in done.stderr
    assert not (tmp_path / "run").exists()


def test_a_second_signal_ends_at_once(tmp_path: Path) -> None:
    script = (
        "import os, signal, sys\n"
        "from d2lcli.training.updates import Updates\n"
        "def twice(self, measure):\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
        "    raise AssertionError('still here')\n"
        "Updates._step = twice\n"
        "from d2lcli.__main__ import main\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, "train", *LINEAR, "--run-dir", str(tmp_path / "run")],
        env=environment(), capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 128 + signal.SIGTERM
    assert "stopped by SIGTERM at once" in done.stderr and "still here" not in done.stderr


@pytest.mark.parametrize(
    ("where", "codes"),
    [
        (">&- 2>&-", {0}),
        (">/dev/full 2>/dev/full", {0, 1}),
        ("2>&1 | head -c 1 >/dev/null; exit ${PIPESTATUS[0]}", {0, 141}),
    ],
)
def test_output_that_goes_nowhere(where: str, codes: set[int], tmp_path: Path) -> None:
    """Training goes on; what cannot be printed is no reason to lose it."""
    words = " ".join(f"'{word}'" for word in (*LINEAR, "epochs=2"))
    script = f'"{sys.executable}" -m d2lcli train {words} --run-dir "{tmp_path}/run" {where}'
    done = subprocess.run(["bash", "-c", script], env=environment(), capture_output=True, text=True, timeout=60)
    assert done.returncode in codes
    assert "Traceback" not in done.stderr and "Exception ignored" not in done.stderr
    assert json.loads((tmp_path / "run" / "result.json").read_text())["status"] == "finished"


def test_a_narrow_terminal_without_unicode(tmp_path: Path) -> None:
    odd = tmp_path / "r\u00fcn \u2603"
    surroundings = environment(LC_ALL="C", PYTHONIOENCODING="ascii", PYTHONUTF8="0", COLUMNS="20")
    done = d2l("train", *LINEAR, "epochs=1", "--run-dir", odd, env=surroundings)
    assert done.returncode == 0 and "Traceback" not in done.stderr
    assert done.stdout.isascii() and done.stdout.count("\n") == 1
    assert json.loads((odd / "result.json").read_text())["status"] == "finished"

"""Help, lists, completion and config errors start light: none of the slow libraries, and soon."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from runs import LINEAR, train

HEAVY = ("torch", "numpy", "hydra", "omegaconf", "rich", "pydantic", "yaml", "importlib.metadata")

PROGRAM = """
import json, sys
from d2lcli.__main__ import main
code = main(json.loads(sys.argv[1]))
heavy = [name for name in json.loads(sys.argv[2]) if name in sys.modules]
print(json.dumps([code, heavy]), file=sys.stderr)
"""


def loaded(words: list[str]) -> tuple[int, list[str]]:
    """The exit code of `d2l WORDS`, and the slow modules that it imported."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, json.dumps(words), json.dumps(HEAVY)],
        capture_output=True,
        text=True,
        check=True,
    )
    code, heavy = json.loads(done.stderr.splitlines()[-1])
    return code, heavy


@pytest.mark.parametrize(
    "words",
    [
        ["--help"],
        ["train", "--help"],
        ["--version"],
        ["data", "--help"],
        ["completion", "bash"],
        ["bench", "--help"],
        ["report", "--help"],
    ],
)
def test_help_imports_next_to_nothing(words: list[str]) -> None:
    assert loaded(words) == (0, [])


@pytest.mark.parametrize("words", [["list"], ["list", "model", "--details"], ["list", "optim", "--json"]])
def test_lists_read_tables_alone(words: list[str]) -> None:
    code, heavy = loaded(words)
    assert code == 0
    assert set(heavy) <= {"yaml", "importlib.metadata"}  # the latter reads the names of entry points


@pytest.mark.parametrize("line", ["d2l tr", "d2l train model=res", "d2l train optim.", "d2l train model.activation="])
def test_completion_is_light(line: str) -> None:
    code, heavy = loaded(["--complete", "bash", line])
    assert code == 0
    assert set(heavy) <= {"yaml", "importlib.metadata"}


def test_a_misspelt_topic_is_answered_before_torch() -> None:
    code, heavy = loaded(["bench", "compte"])
    assert code == 2
    assert not {"torch", "numpy", "rich", "pydantic"} & set(heavy)


@pytest.mark.parametrize("command", ["train", "config", "show"])
def test_a_config_error_comes_before_torch(command: str) -> None:
    code, heavy = loaded([command, "optim.lr=abc", "epochs=0", "model=lenet"])
    assert code == 2
    assert not {"torch", "numpy", "rich", "pydantic"} & set(heavy)


def test_a_config_error_of_a_run_comes_before_torch(tmp_path: Path) -> None:
    train(tmp_path / "run", *LINEAR, "steps=1")
    for words in (
        ["evaluate", str(tmp_path / "run"), "task.lss=mse"],
        ["train", "--resume", str(tmp_path / "run"), "stps=2"],
    ):
        code, heavy = loaded(words)
        assert code == 2
        assert not {"torch", "numpy", "rich", "pydantic"} & set(heavy)

"""`d2l list`, `d2l config` and completion."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from d2lcli.__main__ import main
from d2lcli.commands.completion import candidates
from d2lcli.commands.list import KINDS
from d2lcli.config.places import conf_names
from d2lcli.config.yaml_text import parse_document
from d2lcli.registry import MODELS, OPTIMIZERS, REGISTRIES


def out(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(words) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_lists_names_and_descriptions(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    rows = json.loads(out(capsys, "list", kind, "--json"))
    expected = REGISTRIES[kind].names() if kind in REGISTRIES else list(conf_names(kind))
    assert [row["name"] for row in rows] == expected
    assert all(row["description"] for row in rows)
    text = out(capsys, "list", kind)
    assert all(row["name"] in text and row["description"] in text for row in rows)


def test_kinds_are_counted(capsys: pytest.CaptureFixture[str]) -> None:
    rows = {row["name"]: row["count"] for row in json.loads(out(capsys, "list", "--json"))}
    assert set(REGISTRIES) <= set(rows)
    assert rows["model"] == len(MODELS.names())


def test_plurals_and_details(capsys: pytest.CaptureFixture[str]) -> None:
    assert out(capsys, "list", "optimizers") == out(capsys, "list", "optim")
    assert "He et al., 2016" not in out(capsys, "list", "models")
    assert "He et al., 2016" in out(capsys, "list", "models", "--details")


def test_models_are_compared_in_120_columns(capsys: pytest.CaptureFixture[str]) -> None:
    lines = out(capsys, "list", "model", "--details").splitlines()
    assert lines[0].split() == ["NAME", "YEAR", "DEPTH", "PARAMS", "MULT-ADDS", "IDEA", "SOURCE"]
    assert max(map(len, lines)) <= 120 and max(map(len, out(capsys, "list", "model").splitlines())) <= 120
    (words,) = (line.split() for line in lines if line.startswith("resnet50 "))
    assert words[1:7] == ["2015", "50", "25.6", "M", "4.09", "G"]
    order = [line.split()[0] for line in lines if line.split()[0] in ("resnet18", "lenet", "resnet101", "resnet34")]
    assert order == ["lenet", "resnet18", "resnet34", "resnet101"]
    (row,) = (row for row in json.loads(out(capsys, "list", "model", "--json")) if row["name"] == "resnet50")
    assert (row["year"], row["depth"], row["parameters"]) == (2015, 50, 25_557_032)
    assert round(row["multiply_adds"] / 1e9, 3) == 4.089


def test_config_prints_what_train_reads(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    text = out(capsys, "config", "model=lenet", "optim.lr=0.25")
    values = parse_document(text, "stdout").values
    assert (values["model"]["name"], values["optim"]["lr"]) == ("lenet", 0.25)
    (tmp_path / "my.yaml").write_text(text)
    assert out(capsys, "config", "--config", str(tmp_path / "my.yaml")) == text
    assert json.loads(out(capsys, "config", "model=lenet", "optim.lr=0.25", "--json")) == values


def test_explain(capsys: pytest.CaptureFixture[str]) -> None:
    lines = out(capsys, "config", "--explain", "optim.lr", "optim.lr=3").splitlines()
    assert lines[-1].split() == ["command", "line", "3", "<-", "wins"]
    assert lines[1].startswith("conf/optim/adamw.yaml:")
    layers = json.loads(out(capsys, "config", "--explain", "optim.lr", "optim.lr=3", "--json"))
    assert layers[-1] == {"place": "command line", "value": 3}


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("d2l tr", ["train"]),
        ("d2l data f", ["fetch"]),
        ("d2l list hard", ["hardware"]),
        ("d2l train --sm", ["--smoke"]),
        ("d2l train mod", ["model=", "model."]),
        ("d2l train model=resnet", [f"model={name}" for name in MODELS.names() if name.startswith("resnet")]),
        ("d2l train +model=mlp", ["+model=mlp"]),
        ("d2l train optim=", [f"optim={name}" for name in OPTIMIZERS.names()]),
        ("d2l train optim=adamw optim.be", ["optim.betas="]),
        ("d2l train optim=sgd optim.be", []),
        ("d2l train model=lenet model.pool=", ["model.pool=avg", "model.pool=max"]),
        ("d2l config hardware.compile=", ["hardware.compile=true", "hardware.compile=false"]),
        ("d2l train hardware=cpu_", ["hardware=cpu_fast"]),
        ("d2l train data.batch", ["data.batch_size="]),
        ("d2l train epo", ["epochs="]),
        ("d2l train zzz=", []),
        ("d2l train 'model=res", [f"model={name}" for name in MODELS.names() if name.startswith("res")]),
        ("d2l completion z", ["zsh"]),
        ("d2l data check emo", ["emoji64"]),
    ],
)
def test_candidates(line: str, found: list[str]) -> None:
    assert candidates(line) == found


def test_candidates_of_an_empty_word() -> None:
    assert {"train", "list", "data"} <= set(candidates("d2l "))
    assert {"model=", "optim.", "epochs="} <= set(candidates("d2l train "))


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_bash_itself_completes(tmp_path: Path) -> None:
    """Bash splits words at =, so what it is offered there is the value alone."""
    (tmp_path / "d2l").write_text(f'#!/bin/sh\nexec {sys.executable} -m d2lcli "$@"\n')
    (tmp_path / "d2l").chmod(0o755)
    program = (
        'PATH="$1:$PATH"; eval "$(d2l completion bash)"; compopt() { :; }\n'
        'for line in "d2l train model=resnet1" "d2l tra"; do\n'
        '  COMP_LINE=$line COMP_POINT=${#line}; COMPREPLY=(); _d2l; echo "${COMPREPLY[@]}"\ndone\n'
    )
    done = subprocess.run(["bash", "-c", program, "bash", str(tmp_path)], capture_output=True, text=True, check=True)
    expected = " ".join(name for name in MODELS.names() if name.startswith("resnet1"))
    assert done.stdout.splitlines() == [expected, "train"], done.stderr


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_scripts_call_back(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert f"d2l --complete {shell} " in out(capsys, "completion", shell)

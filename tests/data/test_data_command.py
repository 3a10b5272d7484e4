"""`d2l data list`, `check` and `fetch` as functions."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from d2lcli.commands.data import check_data, fetch_data, list_data
from d2lcli.data import sources
from d2lcli.data.sources import SOURCES, DataFile, Source
from d2lcli.errors import ConfigError, DataError
from d2lcli.registry import DATASETS


@pytest.fixture
def missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a machine without the whole Fashion-MNIST, its server unreachable."""
    nowhere = Source(
        "fashion_mnist",
        (DataFile("a", 1, "0" * 64, "0" * 32),),
        "MIT",
        folders=("fashion_mnist",),
        url="http://127.0.0.1:9/",
    )
    monkeypatch.setitem(sources.SOURCES, "fashion_mnist", nowhere)


def test_list_names_every_data_set(missing: None, capsys: pytest.CaptureFixture[str]) -> None:
    list_data(json_output=True)
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert sorted(rows) == DATASETS.names()
    assert all(row["description"] for row in rows.values())
    expected = {"ames": "embedded", "csv": "yours", "sparse_linear": "made", "fashion_mnist": "missing"}
    assert {name: rows[name]["status"] for name in expected} == expected
    list_data()
    assert "fashion_mnist_mini" in capsys.readouterr().out


def test_check_reads_the_files(missing: None, capsys: pytest.CaptureFixture[str]) -> None:
    check_data(json_output=True)
    rows = json.loads(capsys.readouterr().out)
    assert {row["status"] for row in rows} == {"ok", "missing"}
    assert {row["name"] for row in rows} == set(SOURCES)
    with pytest.raises(DataError, match="1 of 1 files are not as they should be; fashion_mnist: a is missing"):
        check_data(["fashion_mnist"])


def test_check_reports_damage(missing: None, own_places: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (own_places / "fashion_mnist").mkdir(parents=True)
    (own_places / "fashion_mnist" / "a").write_bytes(b"?")
    with pytest.raises(DataError, match="wrong checksum"):
        check_data()
    printed = capsys.readouterr().out.split()
    assert "damaged" in printed and "fashion_mnist" in printed


def test_fetch_fails_with_the_ways(missing: None) -> None:
    with pytest.raises(DataError, match="not on this machine") as caught:
        fetch_data(["fashion_mnist"])
    assert "data.root" in caught.value.hint


def test_fetch_leaves_what_is_here(capsys: pytest.CaptureFixture[str]) -> None:
    fetch_data(["ames"], json_output=True)
    assert [row["status"] for row in json.loads(capsys.readouterr().out)] == ["ok"]


@pytest.mark.parametrize(("name", "problem"), [("amse", "did you mean 'ames'"), ("csv", "no files to fetch or check")])
def test_other_names_are_refused(name: str, problem: str) -> None:
    for command in (fetch_data, check_data):
        with pytest.raises(ConfigError, match=problem):
            command([name])


def test_listing_imports_nothing_heavy() -> None:
    code = (
        "import sys; from d2lcli.commands.data import list_data; list_data(True);"
        "heavy = {'torch', 'numpy', 'hydra', 'rich', 'PIL', 'psutil'} & set(sys.modules);"
        "sys.exit(str(heavy) if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr

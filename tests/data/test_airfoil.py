"""The airfoil table from a file of the published form, and the optimizers that the book compares on it."""

import hashlib
from pathlib import Path

import numpy
import pytest
import torch

from d2lcli.data import airfoil as module
from d2lcli.data.airfoil import airfoil
from d2lcli.data.sources import DataFile, Source
from d2lcli.errors import DataError


def place(folder: Path, monkeypatch: pytest.MonkeyPatch) -> numpy.ndarray:
    """1,503 rows of six numbers with tabs between and Windows line ends, and a table in which the checksum is right."""
    generator = numpy.random.default_rng(0)
    values = generator.normal(size=(1503, 6)).round(4) * [100, 5, 0.1, 30, 0.01, 7] + [3000, 7, 0.1, 50, 0.01, 125]
    text = "".join("\t".join(f"{value:.6g}" for value in row) + "\r\n" for row in values).encode()
    (folder / "airfoil_self_noise.dat").write_bytes(text)
    file = DataFile("airfoil_self_noise.dat", len(text), hashlib.sha256(text).hexdigest())
    monkeypatch.setattr(module, "AIRFOIL", Source("airfoil", (file,), "", url="http://127.0.0.1:9/"))
    return numpy.loadtxt(folder / "airfoil_self_noise.dat", delimiter="\t")


def test_rows_are_standardised_as_in_the_book(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """(data - mean) / std over all rows, then the first 1,500; the last column is the target."""
    values = place(tmp_path, monkeypatch)
    expected = torch.from_numpy((values - values.mean(0)) / values.std(0)).float()[:1500]
    data = airfoil(root=str(tmp_path))
    assert data.shape == (5,) and data.num_outputs == 1
    for split in (data.train, data.val):
        torch.testing.assert_close(split.inputs, expected[:, :5], atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(split.targets, expected[:, 5:], atol=1e-5, rtol=1e-5)


def test_a_damaged_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place(tmp_path, monkeypatch)
    path = tmp_path / "airfoil_self_noise.dat"
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(DataError, match="airfoil_self_noise"):
        airfoil(root=str(tmp_path))

"""CIFAR-10 from a tiny archive in the published layout: https://www.cs.toronto.edu/~kriz/cifar.html, binary version."""

import hashlib
import io
import tarfile
from collections.abc import Mapping
from pathlib import Path

import numpy
import pytest

from d2lcli.data import cifar10 as module
from d2lcli.data.cifar10 import cifar10, parse_rows
from d2lcli.data.loader import Loader
from d2lcli.data.sources import DataFile, Source
from d2lcli.errors import DataError

NAMES = [f"data_batch_{i}.bin" for i in range(1, 6)] + ["test_batch.bin"]


def rows(seed: int, n: int = 4) -> bytes:
    """Rows as the page describes them: a label, 1,024 bytes each of red, green and blue."""
    generator = numpy.random.default_rng(seed)
    images = generator.integers(0, 256, (n, 3, 32, 32), dtype=numpy.uint8)
    return b"".join(bytes([(seed + i) % 10]) + images[i].tobytes() for i in range(n))


def place(folder: Path, monkeypatch: pytest.MonkeyPatch, members: Mapping[str, bytes], cut: int = 0) -> None:
    """An archive of these files, and a table in which its checksum is the right one."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        for name, content in members.items():
            entry = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    packed = stream.getvalue()[: len(stream.getvalue()) - cut]
    (folder / "cifar-10-binary.tar.gz").write_bytes(packed)
    file = DataFile("cifar-10-binary.tar.gz", len(packed), hashlib.sha256(packed).hexdigest(), archive=True)
    nowhere = Source("cifar10", (file,), "", folders=("cifar10",), url="http://127.0.0.1:9/")
    monkeypatch.setattr(module, "CIFAR10", nowhere)


@pytest.fixture
def whole() -> dict[str, bytes]:
    return {name: rows(seed) for seed, name in enumerate(NAMES)} | {"batches.meta.txt": b"airplane\n"}


def test_every_row_is_where_it_belongs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole: dict[str, bytes]
) -> None:
    place(tmp_path, monkeypatch, whole)
    data = cifar10(root=str(tmp_path), normalize=False)
    assert data.shape == (3, 32, 32) and data.num_outputs == len(data.classes) == 10
    assert (len(data.train), len(data.val)) == (20, 4)
    assert data.train.targets.tolist() == [(seed + i) % 10 for seed in range(5) for i in range(4)]
    x, y = next(Loader(data.val, batch_size=4, seed=0, shuffle=False).batches(0))
    assert y.tolist() == [5, 6, 7, 8]
    byte = whole["test_batch.bin"][2 * 3073 + 1 + 2 * 1024 + 7 * 32 + 5]  # blue of row 7, column 5 of the third image
    assert float(x[2, 2, 7, 5]) == pytest.approx(byte / 255)
    assert list(data.files) == [str(tmp_path / "cifar-10-binary.tar.gz")]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "0 bytes; want rows of 3073 bytes"),
        (bytes(3072), "3072 bytes; want rows"),
        (bytes([10]) + bytes(3072), "label 10, and there are 10 classes"),
    ],
)
def test_rows_that_are_none(content: bytes, problem: str) -> None:
    with pytest.raises(DataError, match=problem):
        parse_rows(content, "data_batch_1.bin")


def test_archives_that_are_not_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole: dict[str, bytes]) -> None:
    place(tmp_path, monkeypatch, whole, cut=500)
    with pytest.raises(DataError, match="damaged archive"):
        cifar10(root=str(tmp_path))
    place(tmp_path, monkeypatch, {name: whole[name] for name in NAMES[1:]})
    with pytest.raises(DataError, match=r"tar\.gz/data_batch_1\.bin: 0 bytes"):
        cifar10(root=str(tmp_path))
    (tmp_path / "cifar-10-binary.tar.gz").write_bytes(b"other")
    with pytest.raises(DataError, match="wrong checksum"):
        cifar10(root=str(tmp_path))


def test_without_archive_and_network_the_ways_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole: dict[str, bytes]
) -> None:
    place(tmp_path, monkeypatch, whole)
    with pytest.raises(DataError, match="cifar10: not on this machine") as caught:
        cifar10()
    assert "put cifar-10-binary.tar.gz into a folder and give data.root=FOLDER" in caught.value.hint

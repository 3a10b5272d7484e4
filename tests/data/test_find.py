"""The order of places, and what is done about damage."""

import gzip
import hashlib
from pathlib import Path

import pytest

from d2lcli.data import fashion_mnist as module
from d2lcli.data.fashion_mnist import fashion_mnist, fashion_mnist_mini
from d2lcli.data.find import EMBEDDED, locate, read_checked
from d2lcli.data.sources import FASHION_MNIST_MINI, SOURCES, DataFile, Source
from d2lcli.errors import DataError

CONTENT = b"some data" * 100
FILE = DataFile("a.gz", len(CONTENT), hashlib.sha256(CONTENT).hexdigest())


def source(tmp_path: Path) -> Source:
    return Source("toy", (FILE,), "none", folders=("toy",), system=(str(tmp_path / "system"),))


def put(folder: Path, name: str = "a.gz", content: bytes = CONTENT) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    return path


def test_places_are_tried_in_order(tmp_path: Path, own_places: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "root").mkdir()
    root = str(tmp_path / "root")
    monkeypatch.setenv("D2L_DATA", f"{tmp_path / 'none'}:{tmp_path / 'one'}:{tmp_path / 'two'}")
    toy = source(tmp_path)
    assert locate(toy, root) is None
    for folder, words in (
        (tmp_path / "system", "the system's data"),
        (own_places / "toy", "the cache"),
        (tmp_path / "two" / "toy", "$D2L_DATA"),
        (tmp_path / "one", "$D2L_DATA"),
        (tmp_path / "root" / "toy", "data.root"),
    ):
        path = put(folder)
        found = locate(toy, root)
        assert found is not None
        assert found.paths == {"a.gz": path}
        assert found.place == f"{words}, {folder}"


def test_an_uncompressed_twin_is_as_good(own_places: Path, tmp_path: Path) -> None:
    path = put(own_places / "toy", "a")
    found = locate(source(tmp_path))
    assert found is not None and found.paths["a.gz"] == path
    assert read_checked(path, FILE) == (CONTENT, hashlib.sha256(CONTENT).hexdigest())


def test_the_checksum_is_that_of_the_content(tmp_path: Path) -> None:
    path = put(tmp_path)
    recompressed = gzip.compress(CONTENT, compresslevel=1, mtime=7)
    assert recompressed != path.read_bytes()
    path.write_bytes(recompressed)
    assert read_checked(path, FILE) == (CONTENT, hashlib.sha256(recompressed).hexdigest())


@pytest.mark.parametrize("kind", ["other", "truncated", "not gzip", "longer", "empty"])
def test_damage_names_the_file(tmp_path: Path, kind: str) -> None:
    path = put(tmp_path)
    whole = path.read_bytes()
    damaged = {
        "other": gzip.compress(CONTENT[:-1] + b"?"),
        "truncated": whole[:-12],
        "not gzip": CONTENT,
        "longer": gzip.compress(CONTENT + b"x" * 10**6),
        "empty": b"",
    }
    path.write_bytes(damaged[kind])
    with pytest.raises(DataError, match=r"a\.gz: ") as caught:
        read_checked(path, FILE)
    if kind == "other":
        assert FILE.sha256 in caught.value.message
        assert hashlib.sha256(CONTENT[:-1] + b"?").hexdigest() in caught.value.message


def test_a_bomb_is_not_blown_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.gz"
    path.write_bytes(gzip.compress(bytes(50_000_000)))
    with pytest.raises(DataError, match=f"more than {FILE.size} bytes"):
        read_checked(path, FILE)


def test_a_root_that_is_no_folder_or_lacks_a_file(tmp_path: Path) -> None:
    for root in (str(tmp_path / "none"), "", "a\0b", "x" * 5000):
        with pytest.raises(ValueError, match="not an existing folder"):
            fashion_mnist_mini(root=root or "\n")
    put(tmp_path, "train-images-idx3-ubyte.gz")
    with pytest.raises(DataError, match="has some of the files but not train-labels"):
        fashion_mnist(root=str(tmp_path))


def test_another_data_set_under_the_same_names_is_refused() -> None:
    with pytest.raises(DataError, match="wrong checksum"):
        fashion_mnist(root=str(EMBEDDED / "fashion_mnist_mini"))


def test_the_whole_set_is_never_replaced_by_the_small_one(monkeypatch: pytest.MonkeyPatch) -> None:
    nowhere = Source(
        "fashion_mnist", SOURCES["fashion_mnist"].files, "", folders=("fashion_mnist",), url="http://127.0.0.1:9/"
    )
    monkeypatch.setattr(module, "FASHION_MNIST", nowhere)
    with pytest.raises(DataError, match="fashion_mnist: not on this machine"):
        fashion_mnist()


def test_embedded_files_are_whole_and_bring_their_licence() -> None:
    for source in SOURCES.values():
        if source.embedded:
            folder = EMBEDDED / source.name
            for file in source.files:
                read_checked(folder / file.name, file)
            assert (folder / "LICENSE").stat().st_size > 500


def test_mini_is_read_from_a_root_with_its_name(tmp_path: Path) -> None:
    folder = tmp_path / "fashion_mnist_mini"
    folder.mkdir()
    for file in FASHION_MNIST_MINI.files:
        (folder / file.name).write_bytes((EMBEDDED / "fashion_mnist_mini" / file.name).read_bytes())
    assert fashion_mnist_mini(root=str(tmp_path)).found == f"data.root, {folder}"
    assert fashion_mnist_mini().found == "embedded"

"""Weights from anywhere: which file is meant, what is read, and what is refused."""

import hashlib
import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from d2lcli.errors import CheckpointError
from d2lcli.training.origin import locate
from d2lcli.training.weights import read_weights
from tests import runs

TENSORS = {"fc.weight": torch.arange(6.0).reshape(2, 3), "fc.bias": torch.tensor([1.0, -1.0])}


def assert_same(found: dict[str, Tensor], expected: dict[str, Tensor] = TENSORS) -> None:
    assert list(found) == list(expected)
    assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())


class Marker:
    """Creates a file while it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


# Which file


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "run"
    runs.train(folder, *runs.LINEAR, "ema=0.5", "epochs=2")
    return folder


def test_a_run_stands_for_its_best_checkpoint(run: Path) -> None:
    best = (run / "checkpoints" / "best").resolve()
    assert locate(str(run)).resolve() == best
    assert locate(str(best)) == best


def test_a_file_is_itself(tmp_path: Path) -> None:
    for name in ("a.safetensors", "b.pt", "c.pth", "d.bin", "E.PTH"):
        (tmp_path / name).touch()
        assert locate(str(tmp_path / name)) == tmp_path / name


def test_what_is_no_weights(tmp_path: Path) -> None:
    (tmp_path / "weights.csv").touch()
    (tmp_path / "begun").mkdir()
    (tmp_path / "begun" / "config.yaml").touch()
    for name, reason in (
        ("nothing", "there is no such file or folder"),
        ("weights.csv", "not a file of weights by its ending .known: .safetensors, .pt, .pth, .bin, .txt, .vec."),
        (".", "neither a run nor a checkpoint"),
        ("begun", "no checkpoint 'best'"),
    ):
        with pytest.raises(CheckpointError, match=reason):
            locate(str(tmp_path / name))


# What is read


def test_safetensors(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    save_file(TENSORS, path)
    found = read_weights(path)
    assert {name: tensor.tolist() for name, tensor in found.tensors.items()} == {
        "fc.weight": [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]],
        "fc.bias": [1.0, -1.0],
    }
    assert found.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_averaged_weights_of_a_checkpoint(run: Path) -> None:
    best = (run / "checkpoints" / "best").resolve()
    found = read_weights(best)
    assert_same(dict(sorted(found.tensors.items())), dict(sorted(load_file(best / "ema.safetensors").items())))
    own = load_file(best / "model.safetensors")
    assert not any(torch.equal(found.tensors[name], tensor) for name, tensor in own.items())
    assert found.sha256 == hashlib.sha256((best / "ema.safetensors").read_bytes()).hexdigest()


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: state,
        lambda state: OrderedDict(state),
        lambda state: {"state_dict": state, "epoch": 3, "optimizer": {"state": {}}},
        lambda state: {"model": state},
        lambda state: {"model": {f"module.{name}": tensor for name, tensor in state.items()}, "args": [1, "a"]},
        lambda state: {"state_dict": {f"model.{name}": nn.Parameter(tensor) for name, tensor in state.items()}},
        lambda state: state | {"epoch": 3, "sparse": torch.eye(2).to_sparse()},
    ],
)
def test_pickled_weights(tmp_path: Path, wrap: Any) -> None:
    path = tmp_path / "w.pth"
    torch.save(wrap(TENSORS), path)
    assert_same(read_weights(path).tensors)
    torch.save(wrap(TENSORS), path, _use_new_zipfile_serialization=False)
    assert_same(read_weights(path).tensors)


# What is refused


@pytest.mark.parametrize("forced", ["", "1"])
@pytest.mark.parametrize("kind", ["plain", "torch", "nested", "legacy"])
def test_a_pickle_that_runs_code_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, forced: str
) -> None:
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", forced)
    path, marker = tmp_path / "w.pth", tmp_path / "marker"
    if kind == "plain":
        path.write_bytes(pickle.dumps(Marker(marker)))
    else:
        content: Any = {"state_dict": TENSORS | {"x": Marker(marker)}} if kind == "nested" else Marker(marker)
        torch.save(content, path, _use_new_zipfile_serialization=kind != "legacy")
    with pytest.raises(CheckpointError, match="refused: not a pickle of tensors alone") as caught:
        read_weights(path)
    assert "safetensors" in caught.value.hint
    assert not marker.exists()


def test_the_hostile_pickle_would_run_elsewhere(tmp_path: Path) -> None:
    """Otherwise the test above shows nothing."""
    pickle.loads(pickle.dumps(Marker(tmp_path / "marker")))  # noqa: S301 -- our own bytes
    assert (tmp_path / "marker").exists()


@pytest.mark.parametrize("name", ["w.pt", "w.safetensors"])
def test_damaged_files(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if name == "w.pt":
        torch.save(TENSORS, path)
    else:
        save_file(TENSORS, path)
    whole = path.read_bytes()
    for content in (b"", whole[: len(whole) // 2], whole[:-1], b"\xff" * 8 + whole[8:], b"not weights"):
        path.write_bytes(content)
        if name == "w.pt" and content == whole[:-1]:
            continue  # a zip archive whose comment lacks a byte may still be whole
        with pytest.raises(CheckpointError, match=r"damaged|refused"):
            read_weights(path)


def test_a_damaged_checkpoint(run: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    copy.mkdir()
    for file in (run / "checkpoints" / "best").resolve().iterdir():
        (copy / file.name).write_bytes(file.read_bytes()[: -1 if file.name == "ema.safetensors" else None])
    with pytest.raises(CheckpointError, match=r"ema\.safetensors is damaged"):
        read_weights(locate(str(copy)))


def test_other_content(tmp_path: Path) -> None:
    path = tmp_path / "w.pt"
    for content, reason in (([1, 2], "holds a list"), ({"epoch": 3}, "no tensor"), (torch.zeros(2), "holds a Tensor")):
        torch.save(content, path)
        with pytest.raises(CheckpointError, match=reason):
            read_weights(path)
    save_file({}, tmp_path / "w.safetensors")
    with pytest.raises(CheckpointError, match="no tensor"):
        read_weights(tmp_path / "w.safetensors")


def test_a_compiled_archive_is_refused(tmp_path: Path) -> None:
    """A TorchScript file is a zip archive too, with code inside."""
    path = tmp_path / "w.pt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("w/constants.pkl", b"\x80\x02).")
        archive.writestr("w/version", b"3\n")
        archive.writestr("w/data.pkl", b"\x80\x02).")
    with pytest.raises(CheckpointError, match="refused"):
        read_weights(path)

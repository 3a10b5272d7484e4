"""Checkpoints are whole, verified and free of pickle; nothing intact is removed before its successor is durable."""

import json
import os
import struct
from pathlib import Path

import pytest
import torch

from d2lcli.errors import CheckpointError
from d2lcli.training.checkpoint import Checkpoints, Snapshot, read_snapshot, write_snapshot


def snapshot(step: int, value: float = 1.0) -> Snapshot:
    tensors = {"model": {"w": torch.full((3, 4), value), "b": torch.arange(4)}, "optimizer": {"w/m": torch.ones(3, 4)}}
    return Snapshot({"progress": {"step": step}, "note": "x"}, tensors)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "checkpoints"


def test_round_trip_is_bit_equal(tmp_path: Path) -> None:
    special = torch.tensor([0.0, -0.0, float("inf"), 1e-45, 1 / 3])
    given = Snapshot({"progress": {"step": 7}}, {"model": {"x": special, "half": special.bfloat16()}})
    write_snapshot(tmp_path / "step-00000007", given)
    found = read_snapshot(tmp_path / "step-00000007")
    assert found.step == 7
    for name, tensor in given.tensors["model"].items():
        assert found.tensors["model"][name].dtype == tensor.dtype
        assert found.tensors["model"][name].view(torch.uint8).equal(tensor.view(torch.uint8))


def test_tied_tensors_are_stored_once_and_come_back_under_both_names(tmp_path: Path) -> None:
    weight = torch.randn(64, 64)
    write_snapshot(tmp_path / "a", Snapshot({"progress": {"step": 1}}, {"model": {"x": weight, "y": weight}}))
    assert (tmp_path / "a" / "model.safetensors").stat().st_size < 1.5 * weight.nbytes
    found = read_snapshot(tmp_path / "a").tensors["model"]
    assert found["x"].equal(weight) and found["y"].equal(weight)


def test_memory_format_does_not_change_values(tmp_path: Path) -> None:
    image = torch.randn(2, 3, 4, 5).contiguous(memory_format=torch.channels_last)
    write_snapshot(tmp_path / "a", Snapshot({"progress": {"step": 1}}, {"model": {"x": image, "part": image[:, 1]}}))
    found = read_snapshot(tmp_path / "a").tensors["model"]
    assert found["x"].equal(image) and found["part"].equal(image[:, 1])


FILES = ("model.safetensors", "optimizer.safetensors", "state.json", "manifest.json")


def damage(path: Path, kind: str) -> None:
    content = path.read_bytes()
    if kind == "delete":
        path.unlink()
    elif kind == "directory":
        path.unlink()
        path.mkdir()
    elif kind == "link":
        other = path.with_name("other")
        path.rename(other)
        path.symlink_to(other)
    else:
        middle = len(content) // 2
        changed = {
            "empty": b"",
            "truncate": content[:middle],
            "zerotail": content[:middle] + bytes(len(content) - middle),
            "bitflip": content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :],
            "append": content + b"\0",
        }
        path.write_bytes(changed[kind])


@pytest.mark.parametrize("kind", ["delete", "directory", "link", "empty", "truncate", "zerotail", "bitflip", "append"])
@pytest.mark.parametrize("file", FILES)
def test_damage_is_named_and_the_one_before_is_used(folder: Path, file: str, kind: str) -> None:
    told: list[str] = []
    checkpoints = Checkpoints(folder, keep=2, say=told.append)
    folder.mkdir()
    checkpoints.save(snapshot(10, 1.0))
    checkpoints.save(snapshot(20, 2.0))
    damage(folder / "step-00000020" / file, kind)
    found = checkpoints.newest()
    assert found is not None and found.step == 10
    assert found.tensors["model"]["w"].eq(1.0).all()
    assert len(told) == 1 and file in told[0] and "step-00000020" in told[0]


def test_all_damaged_is_an_error_and_changes_nothing(folder: Path) -> None:
    checkpoints = Checkpoints(folder, keep=2, say=lambda line: None)
    folder.mkdir()
    for step in (10, 20):
        checkpoints.save(snapshot(step))
        damage(folder / f"step-{step:08d}" / "model.safetensors", "bitflip")
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    with pytest.raises(CheckpointError, match="all 2 checkpoints are damaged"):
        checkpoints.newest()
    assert before == {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_no_checkpoint_is_none(folder: Path) -> None:
    assert Checkpoints(folder).newest() is None


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.is_symlink())


def test_keep_prunes_all_but_the_newest_and_the_best(folder: Path) -> None:
    checkpoints = Checkpoints(folder, keep=2)
    folder.mkdir()
    for step in (10, 20, 30, 40):
        checkpoints.save(snapshot(step), best=10)
    assert names(folder) == ["step-00000010", "step-00000030", "step-00000040"]
    assert os.readlink(folder / "last") == "step-00000040"
    assert os.readlink(folder / "best") == "step-00000010"


def test_a_stop_checkpoint_goes_with_the_next_scheduled_one(folder: Path) -> None:
    checkpoints = Checkpoints(folder, keep=2)
    folder.mkdir()
    checkpoints.save(snapshot(10))
    checkpoints.save(snapshot(13), stop=True)
    assert names(folder) == ["step-00000010", "step-00000013.stop"]
    found = checkpoints.newest()
    assert found is not None and found.step == 13
    checkpoints.save(snapshot(20))
    assert names(folder) == ["step-00000010", "step-00000020"]


def test_a_damaged_newer_one_never_pushes_out_an_intact_one(folder: Path) -> None:
    checkpoints = Checkpoints(folder, keep=1, say=lambda line: None)
    folder.mkdir()
    checkpoints.save(snapshot(10))
    checkpoints.save(snapshot(20))
    damage(folder / "step-00000020" / "state.json", "empty")
    checkpoints.save(snapshot(15))
    found = checkpoints.newest()
    assert found is not None and found.step == 15


def test_a_removed_run_folder_is_not_made_anew(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Checkpoints(tmp_path / "gone" / "checkpoints").save(snapshot(1))
    assert not (tmp_path / "gone").exists()


def test_a_failed_write_leaves_the_old_and_nothing_of_the_new(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoints = Checkpoints(folder, keep=1)
    folder.mkdir()
    checkpoints.save(snapshot(10))

    def no_space(source: object, target: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "rename", no_space)
    with pytest.raises(OSError, match="No space"):
        checkpoints.save(snapshot(20))
    assert names(folder) == ["step-00000010"]


def reseal(path: Path) -> None:
    """Make a manifest's checksums right again after a change: what an attacker would do."""
    import hashlib

    manifest = json.loads((path / "manifest.json").read_text())
    manifest.pop("sha256")
    for name in manifest["files"]:
        content = (path / name).read_bytes()
        manifest["files"][name] = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    manifest["sha256"] = hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()
    (path / "manifest.json").write_text(json.dumps(manifest))


@pytest.mark.parametrize(
    "header",
    [
        struct.pack("<Q", 2**62),
        struct.pack("<Q", 80)
        + b'{"w":{"dtype":"F32","shape":[1099511627776],"data_offsets":[0,4398046511104]}}'.ljust(80),
        struct.pack("<Q", 70) + b'{"w":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}'.ljust(70) + b"\0" * 4,
        b"\x80\x04\x95pickle",
    ],
)
def test_hostile_safetensors_are_refused(tmp_path: Path, header: bytes) -> None:
    path = tmp_path / "step-00000001"
    write_snapshot(path, snapshot(1))
    (path / "model.safetensors").write_bytes(header)
    reseal(path)
    with pytest.raises(CheckpointError, match=r"model\.safetensors is damaged"):
        read_snapshot(path)


def test_a_manifest_cannot_name_files_elsewhere(tmp_path: Path) -> None:
    path = tmp_path / "step-00000001"
    write_snapshot(path, snapshot(1))
    manifest = json.loads((path / "manifest.json").read_text())
    (tmp_path / "secret").write_text("x")
    manifest["files"]["../secret"] = {"bytes": 1, "sha256": ""}
    (path / "manifest.json").write_text(json.dumps(manifest))
    reseal(path)
    with pytest.raises(CheckpointError, match="unknown file"):
        read_snapshot(path)


def test_find_names_what_there_is(folder: Path) -> None:
    checkpoints = Checkpoints(folder, keep=3)
    folder.mkdir()
    checkpoints.save(snapshot(10), best=10)
    checkpoints.save(snapshot(20), best=10)
    assert checkpoints.find("last").name == "step-00000020"
    assert checkpoints.find("best").name == "step-00000010"
    assert checkpoints.find("20").name == "step-00000020"
    with pytest.raises(CheckpointError, match="steps: 10, 20"):
        checkpoints.find("15")

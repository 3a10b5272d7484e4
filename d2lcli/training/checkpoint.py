"""Checkpoints: directories that are whole and verified, or do not exist.  Tensors in safetensors, the rest in JSON.

    checkpoints/            where processes hold parts of the tensors, see `pieces`
      step-00000100/        model.safetensors optimizer.safetensors [ema.safetensors] state.json manifest.json
      step-00000137.stop/   written because of a signal; the next scheduled checkpoint replaces it
      last, best            links for people; a resume trusts neither, it takes the newest intact directory

A checkpoint is written to a temporary directory, every file synced, the manifest (sizes and SHA-256 of all files, and
of itself) last, then the directory is renamed and its parent synced.  Nothing that is intact is removed before its
successor is durable.
"""

import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from d2lcli.errors import CheckpointError, clean
from d2lcli.training.files import remove_tree, replace_link, sweep, sync_directory, to_json, write_synced
from d2lcli.training.manifest import PIECES, TENSOR_FILES, find_checkpoint, list_steps, parse_json, read_verified, seal
from d2lcli.training.pieces import assemble


@dataclass
class Snapshot:
    """The content of a checkpoint.

    Args:
        state: everything that is not a tensor, as JSON values.
        tensors: file stem (model, optimizer, ema) -> tensor name -> tensor.
        path: where it was read from.
        spread: writes what the processes hold of split tensors into a folder, see `pieces.write_pieces`.  The first
            process calls it while it writes the checkpoint, the others call it with None.
    """

    state: dict[str, Any]
    tensors: dict[str, dict[str, Tensor]] = field(default_factory=dict)
    path: Path | None = None
    spread: Callable[[Path | None], tuple[dict[str, Any], dict[str, Any]]] | None = None

    @property
    def step(self) -> int:
        """Updates done when it was taken."""
        return int(self.state["progress"]["step"])

    @property
    def weights(self) -> dict[str, Tensor]:
        """The model's tensors, or their averages where these were kept; a tied one by all its names (`ema` has one)."""
        model, averages = self.tensors.get("model", {}), self.tensors.get("ema", {})
        averaged = {id(model[name]): tensor for name, tensor in averages.items() if name in model}
        return averages | {name: averaged.get(id(tensor), tensor) for name, tensor in model.items()}


def write_snapshot(target: Path, snapshot: Snapshot) -> None:
    """Write a snapshot to the directory `target`, which appears only when it is whole and durable.

    Raises:
        OSError: the disk is full, read-only, ...; nothing of the new checkpoint is left.
    """
    beside = target.with_name(f"{target.name}.tmp-{os.getpid()}")
    shutil.rmtree(beside, ignore_errors=True)
    os.mkdir(beside, 0o755)
    try:
        files = {}
        aliases = {}
        for stem, tensors in snapshot.tensors.items():
            content, aliases[stem] = _serialise(tensors)
            name = f"{stem}.safetensors"
            files[name] = {"bytes": len(content), "sha256": write_synced(beside / name, content)}
        state = snapshot.state | {"aliases": aliases}
        if snapshot.spread is not None:
            theirs, state["pieces"] = snapshot.spread(beside)
            files |= theirs
            for stem, names in snapshot.state.get("tied", {}).items():
                aliases[stem] |= names
        content = to_json(state)
        files["state.json"] = {"bytes": len(content), "sha256": write_synced(beside / "state.json", content)}
        write_synced(beside / "manifest.json", to_json(seal(snapshot.step, files)))
        sync_directory(beside)
        if target.exists():  # a damaged one of the same name: an intact one is never written twice
            remove_tree(target)
        os.rename(beside, target)
    except BaseException:
        shutil.rmtree(beside, ignore_errors=True)
        raise
    sync_directory(target.parent)


def read_snapshot(path: Path, *, only: tuple[str, ...] = TENSOR_FILES) -> Snapshot:
    """Read and verify a checkpoint directory.

    Args:
        path: the directory.
        only: the tensor files to load; all files are verified in any case.

    Raises:
        CheckpointError: anything is missing or differs from the manifest; the file is named.
    """
    content = read_verified(path)
    state = parse_json(content["state.json"], path / "state.json")
    aliases, progress = state.get("aliases"), state.get("progress")
    if not isinstance(aliases, dict) or not isinstance(progress, dict) or type(progress.get("step")) is not int:
        raise CheckpointError(f"checkpoint {clean(path)}: state.json is damaged")
    tensors = {}
    for stem in TENSOR_FILES:
        name = f"{stem}.safetensors"
        if name in content and stem in only:
            whole = _put_together(content, stem, state, path)
            tensors[stem] = _deserialise(content[name], aliases.get(stem, {}), path / name, whole)
    return Snapshot(state, tensors, path)


def _put_together(content: Mapping[str, bytes], stem: str, state: Mapping[str, Any], path: Path) -> dict[str, Tensor]:
    """The tensors of one stem that lie in pieces; none where the checkpoint has no pieces."""
    try:
        index = state.get("pieces", {}).get(stem, {})
        files = {match[2]: name for name in content if (match := PIECES.fullmatch(name)) and match[1] == stem}
        held = {str(int(rank)): _deserialise(content[name], {}, path / name) for rank, name in files.items()}
        return assemble(index, held)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CheckpointError(f"checkpoint {clean(path)}: its pieces do not fit: {clean(error, 80)}") from None


def _serialise(tensors: Mapping[str, Tensor]) -> tuple[bytes, dict[str, str]]:
    """Bytes of a safetensors file, and the names of tied tensors that are stored once: alias -> stored name."""
    stored: dict[str, Tensor] = {}
    aliases: dict[str, str] = {}
    first: dict[tuple[Any, ...], str] = {}
    for name, tensor in tensors.items():
        place = (tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype, tensor.device)
        if tensor.numel() and place in first:
            aliases[name] = first[place]
            continue
        first[place] = name
        stored[name] = tensor.detach().cpu().contiguous().clone() if tensor.numel() else tensor.detach().cpu()
    return save_tensors(stored), aliases


def _deserialise(
    content: bytes, aliases: Mapping[str, str], path: Path, more: Mapping[str, Tensor] | None = None
) -> dict[str, Tensor]:
    try:
        tensors = load_tensors(content) | dict(more or {})
        return tensors | {alias: tensors[name] for alias, name in aliases.items()}
    except (SafetensorError, KeyError, ValueError, TypeError, AttributeError) as error:
        raise CheckpointError(f"checkpoint {clean(path.parent)}: {path.name} is damaged: {clean(error)}") from None


class Checkpoints:
    """The `checkpoints/` folder of a run.

    Args:
        folder: the folder; made when the first checkpoint is written.
        keep: how many scheduled checkpoints stay beside the best one, at least 1.
        say: told of damage, one line each.
    """

    def __init__(self, folder: Path, keep: int = 2, say: Callable[[str], None] = print) -> None:
        self.folder = folder
        self.keep = keep
        self.say = say

    def steps(self) -> list[tuple[int, bool, Path]]:
        """(step, scheduled, path) of every checkpoint directory, intact or not, the newest last."""
        return list_steps(self.folder)

    def newest(self) -> Snapshot | None:
        """The newest intact checkpoint; None where none was ever written.  By number, never by time or link.

        Raises:
            CheckpointError: there are checkpoints, and all are damaged.
        """
        found = self.steps()
        for _, _, path in reversed(found):
            try:
                return read_snapshot(path)
            except CheckpointError as error:
                self.say(f"warning: {error.message}; trying the one before")
        if found:
            raise CheckpointError(
                f"{clean(self.folder)}: all {len(found)} checkpoints are damaged",
                "nothing was changed; start a new run in another folder",
            )
        return None

    def save(self, snapshot: Snapshot, *, stop: bool = False, best: int | None = None) -> Path:
        """Write a checkpoint, move the links, then prune.

        Args:
            snapshot: what to write.
            stop: written because of a signal, between the scheduled ones.
            best: the step of the best checkpoint so far.
        """
        path = self.folder / f"step-{snapshot.step:08d}{'.stop' if stop else ''}"
        if not self.folder.is_dir():
            self.folder.mkdir(mode=0o755)  # not its parents: a run folder that was removed stays removed
            sync_directory(self.folder.parent)
        write_snapshot(path, snapshot)
        for step, scheduled, other in self.steps():  # what was damaged, and passed over by the resume
            if (step, scheduled) > (snapshot.step, not stop):
                remove_tree(other)
        self._settle(path, best)
        return path

    def settle(self, path: Path, best: int | None) -> None:
        """Finish what a process that was killed right after writing `path` had still to do: links and pruning.

        Args:
            path: the checkpoint to go on from; nothing is done where a newer, damaged one stands beside it.
            best: the step of the best checkpoint so far.
        """
        if path == self.steps()[-1][2]:
            self._settle(path, best)

    def _settle(self, path: Path, best: int | None) -> None:
        replace_link(self.folder / "last", path.name)
        if best is not None and (self.folder / f"step-{best:08d}").is_dir():
            replace_link(self.folder / "best", f"step-{best:08d}")
        self.prune(best)

    def prune(self, best: int | None) -> None:
        """Keep the newest `keep` scheduled checkpoints and the best; a stop checkpoint only while it is the newest."""
        found = self.steps()
        scheduled = [step for step, is_scheduled, _ in found if is_scheduled]
        kept = {*scheduled[-self.keep :], best}
        for step, is_scheduled, path in found:
            newest = path == found[-1][2]
            if not newest and (not is_scheduled or step not in kept):
                remove_tree(path)

    def sweep(self) -> None:
        """Remove what a killed process left half-written or half-removed."""
        if self.folder.is_dir():
            sweep(self.folder)

    def find(self, which: str) -> Path:
        """The directory of `best`, `last` (the newest), a step number, or a path.

        Raises:
            CheckpointError: there is none.
        """
        return find_checkpoint(self.folder, which)


def all_finite(tensors: Mapping[str, Tensor]) -> bool:
    """Whether no floating-point tensor holds NaN or an infinity."""
    floats = [tensor for tensor in tensors.values() if tensor.is_floating_point()]
    return all(bool(torch.isfinite(tensor).all()) for tensor in floats)

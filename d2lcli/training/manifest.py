"""What makes a checkpoint directory whole: its manifest, with the size and SHA-256 of every file.  Imports no torch."""

import hashlib
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from d2lcli.errors import CheckpointError, clean

FORMAT = 1
NAME = re.compile(r"step-(\d{8,12})(\.stop)?")
TENSOR_FILES = ("model", "optimizer", "ema", "batch", "task")
PIECES = re.compile(r"(model|optimizer|ema)-(\d{5})\.safetensors")  # what one of several processes holds of them
MAX_JSON = 1 << 28  # bytes: far above any real state, far below what would fill the memory


def seal(step: int, files: Mapping[str, Any]) -> dict[str, Any]:
    """The manifest of these files (name -> {"bytes", "sha256"}), with a checksum of its own."""
    manifest = {"format": FORMAT, "step": step, "files": dict(files)}
    return manifest | {"sha256": _digest(manifest)}


def read_verified(path: Path) -> dict[str, bytes]:
    """The content of every file of a checkpoint directory, by name.

    Raises:
        CheckpointError: anything is missing or differs from the manifest; the file is named.
    """
    manifest = _read_json(path / "manifest.json")
    listed = manifest.get("files")
    if manifest.get("format") != FORMAT or not isinstance(listed, dict) or "state.json" not in listed:
        raise CheckpointError(f"checkpoint {clean(path)}: manifest.json is damaged or of another format")
    if manifest.pop("sha256", None) != _digest(manifest):
        raise CheckpointError(f"checkpoint {clean(path)}: manifest.json is damaged (its checksum differs)")
    allowed = {"state.json", *(f"{stem}.safetensors" for stem in TENSOR_FILES)}
    if odd := sorted(name for name in set(listed) - allowed if not PIECES.fullmatch(name)):
        raise CheckpointError(f"checkpoint {clean(path)}: the manifest names an unknown file '{clean(odd[0], 60)}'")
    return {name: _verified(path / name, entry) for name, entry in listed.items()}


def list_steps(folder: Path) -> list[tuple[int, bool, Path]]:
    """(step, scheduled, path) of every checkpoint directory, intact or not, the newest last."""
    found = []
    if folder.is_dir():
        for path in folder.iterdir():
            match = NAME.fullmatch(path.name)
            if match and path.is_dir() and not path.is_symlink():
                found.append((int(match[1]), match[2] is None, path))
    return sorted(found)


def find_checkpoint(folder: Path, which: str) -> Path:
    """The directory of `best`, `last` (the newest), a step number, or a path, of the checkpoints in `folder`.

    Raises:
        CheckpointError: there is none.
    """
    found = list_steps(folder)
    if which == "last" and found:
        return found[-1][2]
    link = folder / "best"
    if which == "best" and link.is_symlink() and NAME.fullmatch(os.readlink(link)):
        return folder / os.readlink(link)
    if which == "best" and found:  # a run without an evaluation has no best one
        return found[-1][2]
    for step, scheduled, path in found:
        if which == str(step) and scheduled:
            return path
    path = Path(which)
    if which not in ("best", "last") and (path / "manifest.json").is_file():
        return path
    known = ", ".join(str(step) for step, _, _ in found)
    raise CheckpointError(
        f"no checkpoint '{clean(which, 80)}' in {clean(folder)}" + (f" (steps: {known})" if known else ""),
        "use best, last, a step number or the path of a checkpoint folder",
    )


def _digest(manifest: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()


def _verified(path: Path, entry: Any) -> bytes:
    try:
        size, digest = int(entry["bytes"]), str(entry["sha256"])
        if path.is_symlink() or not path.is_file():
            raise CheckpointError(f"checkpoint {clean(path.parent)}: {path.name} is missing or not a plain file")
        if path.stat().st_size != size:
            raise CheckpointError(f"checkpoint {clean(path.parent)}: {path.name} is damaged (wrong size)")
        content = path.read_bytes()
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"checkpoint {clean(path.parent)}: {path.name} cannot be read: {clean(error)}") from None
    if hashlib.sha256(content).hexdigest() != digest:
        raise CheckpointError(f"checkpoint {clean(path.parent)}: {path.name} is damaged (its checksum differs)")
    return content


def _read_json(path: Path) -> dict[str, Any]:
    try:
        if path.is_symlink() or not path.is_file() or path.stat().st_size > MAX_JSON:
            raise CheckpointError(f"checkpoint {clean(path.parent)}: {path.name} is missing or not a plain file")
        content = path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"checkpoint {clean(path.parent)}: {path.name} cannot be read: {clean(error)}") from None
    return parse_json(content, path)


def parse_json(content: bytes, path: Path) -> dict[str, Any]:
    """A JSON object.

    Raises:
        CheckpointError: it is none.
    """
    try:
        value = json.loads(content)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise CheckpointError(f"checkpoint {clean(path.parent)}: {path.name} is damaged (not a JSON object)")
    return value

"""Files that are whole or absent: written beside, synced, renamed, and the directory synced."""

import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any


def sync_directory(path: Path) -> None:
    """Make the names in a directory durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_synced(path: Path, content: bytes) -> str:
    """Write a new file, sync it, return its SHA-256.  Never follows a link that somebody planted at `path`."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
    with open(descriptor, "wb", buffering=0) as file:
        view = memoryview(content)
        while view:
            view = view[file.write(view) :]
        os.fsync(file.fileno())
    return hashlib.sha256(content).hexdigest()


def replace_file(path: Path, content: bytes) -> None:
    """Replace `path` in one step: after a crash it holds the old content or the new, never a part."""
    beside = path.with_name(f"{path.name}.tmp-{os.getpid()}")
    beside.unlink(missing_ok=True)
    try:
        write_synced(beside, content)
        os.replace(beside, path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def replace_link(path: Path, target: str) -> None:
    """Point the symbolic link `path` to `target` in one step."""
    if path.is_symlink() and os.readlink(path) == target:
        return
    beside = path.with_name(f"{path.name}.tmp-{os.getpid()}")
    beside.unlink(missing_ok=True)
    os.symlink(target, beside)
    os.replace(beside, path)
    sync_directory(path.parent)


def to_json(value: Any) -> bytes:
    """JSON as the product writes it: sorted keys, non-finite numbers as text."""
    return (json.dumps(finite(value), sort_keys=True, indent=1, allow_nan=False) + "\n").encode()


def finite(value: Any) -> Any:
    """`value` with NaN and infinities as the words 'nan', 'inf', '-inf': JSON has no such numbers."""
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return str(value)
    if isinstance(value, dict):
        return {str(key): finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(item) for item in value]
    return value


def remove_tree(path: Path) -> None:
    """Remove a directory: renamed first, so that nobody takes what is left of it for the whole."""
    doomed = path.with_name(f"{path.name}.{os.getpid()}.del")
    os.rename(path, doomed)
    shutil.rmtree(doomed)

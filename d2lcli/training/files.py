"""Files that are whole or absent: written beside, synced, renamed, and the directory synced."""

import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Let an error of the system within this block, which knows a descriptor only, name its file."""
    try:
        yield
    except OSError as error:
        if error.filename is None:
            error.filename = str(path)
        raise


def sync_directory(path: Path) -> None:
    """Make the names in a directory durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with naming(path):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_synced(path: Path, content: bytes) -> str:
    """Write a new file, sync it, return its SHA-256.  Never follows a link that somebody planted at `path`."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
    with naming(path), open(descriptor, "wb", buffering=0) as file:
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


def sweep(folder: Path) -> None:
    """Remove from `folder`, which nobody else writes to, what a killed process left half-written or half-removed."""
    for path in folder.iterdir():
        if re.search(r"\.tmp-\d+$|\.del$", path.name):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()

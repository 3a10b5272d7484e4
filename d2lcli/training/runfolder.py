"""The folder of a run: made, locked, described.  Imports no torch, so that a resume that has nothing to do is quick.

config.yaml   the resolved config; a folder is a run from the moment that this file exists
meta.json     command, versions, git state, seed, device, data checksums
metrics.jsonl, tensorboard/, checkpoints/, samples/, plots/, result.json
"""

import fcntl
import json
import os
import platform
import re
import socket
import stat
import subprocess
import sys
from collections.abc import Mapping
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from d2lcli.errors import CheckpointError, ConfigError, D2LError, clean
from d2lcli.training.files import replace_file, sync_directory, to_json

PACKAGES = ("d2lcli", "torch", "numpy", "hydra-core", "omegaconf", "safetensors", "typer")


class InUseError(D2LError):
    """Another process holds the run's folder."""


class RunFolder:
    """A run's folder, held by one process at a time.

    Args:
        path: the folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock: int | None = None

    @property
    def exists(self) -> bool:
        """Whether a run was begun here."""
        return (self.path / "config.yaml").is_file()

    @property
    def held(self) -> bool:
        """Whether this process holds a run's folder."""
        return self._lock is not None and self.exists

    def lock(self) -> None:
        """Hold the folder until this process ends, however it ends.

        Raises:
            D2LError: another process holds it.
        """
        if self.path.is_symlink():
            raise ConfigError(f"run folder {clean(self.path)}: is a link; name the real folder")
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(self.path / ".lock", flags, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = clean(os.read(descriptor, 200).decode("utf-8", "replace").strip(), 100)
            os.close(descriptor)
            raise InUseError(
                f"run folder {clean(self.path)}: in use by {holder or 'another process'}",
                "wait for it, or choose another --run-dir",
            ) from None
        self._lock = descriptor

    def sign(self) -> None:
        """Note in the lock who holds it, for the message that others get."""
        assert self._lock is not None
        os.ftruncate(self._lock, 0)
        os.pwrite(self._lock, f"pid {os.getpid()} on {socket.gethostname()}\n".encode(), 0)

    def release(self) -> None:
        """Let others have the folder."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def create(self, config_yaml: str, meta: Mapping[str, Any]) -> None:
        """Begin a run here.

        Raises:
            ConfigError: the folder holds a run, or something else.
        """
        make_folder(self.path)
        self.lock()
        try:
            self.check_free()
        except ConfigError:
            self.release()
            raise
        self.sign()
        replace_file(self.path / "meta.json", to_json(meta))
        replace_file(self.path / "config.yaml", config_yaml.encode())

    def check_free(self) -> None:
        """Whether a run may begin here; nothing is written.

        Raises:
            ConfigError: the folder holds a run, or something else, or is no folder.
        """
        if self.exists:
            raise ConfigError(
                f"run folder {clean(self.path)}: holds a run already",
                f"go on with it: d2l train --resume {clean(self.path)}   or choose another --run-dir",
            )
        check_folder(self.path)
        ours = re.compile(r"\.lock$|(meta\.json|config\.yaml)")  # what a start that was killed may have left
        foreign = [name for name in (os.listdir(self.path) if self.path.is_dir() else []) if not ours.match(name)]
        if foreign:
            raise ConfigError(
                f"run folder {clean(self.path)}: is not empty ('{clean(foreign[0], 60)}')", "choose another --run-dir"
            )

    def read_meta(self) -> dict[str, Any]:
        """`meta.json`, or an empty dictionary where it cannot be read."""
        return read_json(self.path / "meta.json") or {}

    def read_result(self) -> dict[str, Any]:
        """`result.json`, or an empty dictionary."""
        return read_json(self.path / "result.json") or {}

    def require(self) -> None:
        """Raises: CheckpointError: there is no run here."""
        if not self.exists:
            raise CheckpointError(
                f"no run in {clean(self.path)} (there is no config.yaml)", "name the folder that `d2l train` printed"
            )
        if stat.S_IMODE(self.path.stat().st_mode) & stat.S_IWOTH:
            print(f"warning: {clean(self.path)} can be written by every user of this machine", file=sys.stderr)


def check_folder(path: Path) -> None:
    """Raises: ConfigError: a link or a file is in the way of a folder."""
    if path.is_symlink():
        raise ConfigError(f"run folder {clean(path)}: is a link; name the real folder")
    if path.exists() and not path.is_dir():
        raise ConfigError(f"run folder {clean(path)}: is a file")
    if any(parent.exists() and not parent.is_dir() for parent in path.parents):
        raise ConfigError(f"run folder {clean(path)}: a part of the path is a file")


def make_folder(path: Path) -> None:
    """Make a folder and its parents, each durable."""
    check_folder(path)
    if path.is_dir():
        return
    if not path.parent.exists():
        make_folder(path.parent)
    path.mkdir(mode=0o755, exist_ok=True)
    sync_directory(path.parent)


def new_path(model: str, data: str) -> Path:
    """A fresh default folder: runs/<date>-<time>-<model>-<data>, numbered where two start in one second."""
    stem = f"{datetime.now():%Y%m%d-%H%M%S}-{model}-{data}"
    path, count = Path("runs") / stem, 1
    while path.exists():
        count += 1
        path = Path("runs") / f"{stem}-{count}"
    return path


def describe(
    command: list[str], overrides: list[str], config_file: Path | None, values: Mapping[str, Any]
) -> dict[str, Any]:
    """What `meta.json` says of how a run came about.  No environment variable is written anywhere."""
    return {
        "format": 1,
        "command": [clean(word, 1000) for word in command],
        "overrides": overrides,
        "config_file": str(config_file) if config_file else None,
        "seed": values.get("seed"),
        "versions": {"python": platform.python_version()} | _versions(),
        "machine": {"system": platform.system(), "release": platform.release(), "cpus": os.cpu_count()},
        "git": _git_state(),
        "started": datetime.now().astimezone().isoformat(timespec="seconds"),
    }


def _versions() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            pass
    return found


def _git_state() -> dict[str, Any] | None:
    """The commit of the directory that the command was started in, and whether files differ from it."""

    def ask(*words: str) -> str:
        answer = subprocess.run(["git", *words], capture_output=True, text=True, timeout=5, check=True)
        return answer.stdout.strip()

    try:
        return {"commit": ask("rev-parse", "HEAD"), "dirty": bool(ask("status", "--porcelain", "--untracked-files=no"))}
    except (OSError, subprocess.SubprocessError):
        return None


def read_json(path: Path) -> dict[str, Any] | None:
    """A JSON object from a file of at most 16 MiB; None where there is none."""
    try:
        if path.is_symlink() or not path.is_file() or path.stat().st_size > 1 << 24:
            return None
        value = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None

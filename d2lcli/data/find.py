"""Where the files of a data set lie, and whether they are the right ones.  Standard library and platformdirs only."""

import gzip
import hashlib
import os
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from d2lcli.data.sources import DataFile, Source
from d2lcli.errors import DataError, clean

EMBEDDED = Path(__file__).parent / "files"


@dataclass(frozen=True)
class Found:
    """The files of a data set in one folder, each by its published name, and the place in words."""

    paths: dict[str, Path]
    place: str


def cache_dir() -> Path:
    """Where downloads are kept: $D2L_CACHE, or the user's cache folder of this system."""
    chosen = os.environ.get("D2L_CACHE")
    if chosen:
        return Path(chosen)
    import platformdirs

    return Path(platformdirs.user_cache_dir("d2l", appauthor=False)) / "data"


def check_root(root: str | None) -> None:
    """Raises ValueError where `root` is given and is not an existing folder."""
    if root is not None and not is_folder(root):
        raise ValueError(f"root is '{clean(root)}', which is not an existing folder")


def locate(source: Source, root: str | None = None) -> Found | None:
    """The first place that has every file: root, $D2L_DATA, the cache, the system's folders, the embedded files.

    Args:
        source: the data set.
        root: a folder chosen by the user; the files lie in it, or in a folder with the set's name inside it.

    Raises:
        ValueError: `root` is not an existing folder.
        DataError: `root` has some of the files but not all.
    """
    check_root(root)
    for place, folder in _places(source, root):
        paths = {file.name: path for file in source.files if (path := _existing(folder, file.name))}
        if len(paths) == len(source.files):
            return Found(paths, place if place == "embedded" else f"{place}, {folder}")
        if paths and place == "data.root":
            missing = next(file.name for file in source.files if file.name not in paths)
            raise DataError(f"{source.name}: {clean(folder)} has some of the files but not {missing}")
    return None


def _places(source: Source, root: str | None) -> Iterator[tuple[str, Path]]:
    bases = [("data.root", root)] if root is not None else []
    bases += [("$D2L_DATA", part) for part in os.environ.get("D2L_DATA", "").split(os.pathsep) if part]
    for place, base in bases:
        for folder in source.folders:
            yield place, Path(base) / folder
        if not source.embedded:  # the files of a small set have the names of the whole one's
            yield place, Path(base)
    yield "the cache", cache_dir() / source.name
    for system in source.system:
        yield "the system's data", Path(system)
    if source.embedded:
        yield "embedded", EMBEDDED / source.name


def _existing(folder: Path, name: str) -> Path | None:
    """The file, or its uncompressed twin."""
    for path in (folder / name, folder / name.removesuffix(".gz")):
        try:
            if path.is_file():
                return path
        except (OSError, ValueError):
            continue
    return None


def is_folder(path: str) -> bool:
    """Whether a path that may be any text is an existing folder."""
    try:
        return Path(path).is_dir()
    except (OSError, ValueError):
        return False


def read_checked(path: Path, file: DataFile) -> tuple[bytes, str]:
    """The content of a file, decompressed, and the SHA-256 of the file as it lies.

    The checksum is that of the content: a copy that was compressed anew is as good.

    Raises:
        DataError: unreadable, damaged, or other content than expected.
    """
    try:
        raw = _read_bounded(path, file)
        content = _decompress(raw, file.size) if path.suffix == ".gz" and not file.archive else raw
    except OSError as error:
        raise DataError(f"{clean(path)}: cannot be read: {error.strerror or clean(error)}") from error
    except (zlib.error, EOFError) as error:
        raise DataError(f"{clean(path)}: damaged: {clean(error)}", _again(file)) from error
    digest = hashlib.sha256(content).hexdigest()
    if file.sha1:
        if (found := hashlib.sha1(content, usedforsecurity=False).hexdigest()) != file.sha1:
            raise DataError(f"{clean(path)}: wrong checksum: SHA-1 {found}, expected {file.sha1}", _again(file))
    elif digest != file.sha256:
        size = f"{len(content)} bytes" if len(content) <= file.size else f"more than {file.size} bytes"
        problem = f"wrong checksum: SHA-256 {digest} of {size}, expected {file.sha256} of {file.size} bytes"
        raise DataError(f"{clean(path)}: {problem}", _again(file))
    return content, hashlib.sha256(raw).hexdigest()


def is_intact(path: Path, file: DataFile) -> bool:
    """Whether the file has the expected content."""
    try:
        read_checked(path, file)
    except DataError:
        return False
    return True


def _read_bounded(path: Path, file: DataFile) -> bytes:
    # No compressor makes data that cannot be compressed larger than this.
    limit = file.size + file.size // 100 + 4096
    with open(path, "rb") as stream:
        return stream.read(limit)


def _decompress(raw: bytes, size: int) -> bytes:
    """At most `size` + 1 bytes of the content, so that a bomb costs no more than the real file."""
    import io

    with gzip.open(io.BytesIO(raw)) as stream:
        return stream.read(size + 1)


def _again(file: DataFile) -> str:
    return (
        f"replace {file.name} by an intact copy; `d2l data check` looks at all files, `d2l data fetch` renews the cache"
    )

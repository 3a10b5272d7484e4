"""Downloads that end with the right file or none: resumable, checked before the final name, one process at a time."""

import hashlib
import http.client
import os
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import IO, Any, NamedTuple
from urllib.parse import urlsplit

from d2lcli.data.find import Found, cache_dir, is_intact, locate, read_checked
from d2lcli.data.sources import Source
from d2lcli.errors import DataError, clean

Progress = Callable[[str, int, int | None], None]  # file name, bytes so far, bytes in all where known

PIECE = 1 << 18
WEB = {"http": 0, "https": 1}  # scheme -> safety


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects to the web only, and never from https to http."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        old, new = urlsplit(req.full_url).scheme, urlsplit(newurl).scheme
        if WEB.get(new, -1) < WEB.get(old, 1):
            raise DataError(f"{clean(req.full_url)}: refused a redirect to {clean(newurl)}")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


class _Interrupted(Exception):
    """The connection was cut or stalled; what has arrived is kept and another attempt goes on from there."""


def fetch(
    source: Source,
    *,
    url: str | None = None,
    progress: Progress | None = None,
    timeout: float = 10.0,
    attempts: int = 3,
) -> Found:
    """Download what the cache does not have of a data set.

    Args:
        source: the data set.
        url: the folder to download from, with a final slash; None for the published one.
        progress: called with each piece.
        timeout: seconds without a byte after which an attempt ends.
        attempts: for each file.

    Raises:
        DataError: it cannot be had; the hint lists the other ways to get it.
    """
    if not (url or source.url):
        raise DataError(f"{source.name}: not on this machine, and it is not downloaded", ways_to_get(source))
    folder = cache_dir() / source.name
    for file in source.files:
        target = folder / file.name
        try:
            download(
                (url or source.url) + file.name,
                target,
                digest=f"sha1:{file.sha1}" if file.sha1 else f"md5:{file.md5}",
                intact=partial(is_intact, file=file),
                max_bytes=file.size + 4096,
                progress=progress,
                timeout=timeout,
                attempts=attempts,
            )
        except DataError as error:
            raise DataError(f"{source.name}: not on this machine, and {error.message}", ways_to_get(source)) from error
    found = locate(source)
    assert found is not None
    return found


class Obtained(NamedTuple):
    """The one file of a source: its bytes, their SHA-256, where it lies, and where that is in words."""

    content: bytes
    digest: str
    path: Path
    place: str


def obtain(source: Source, root: str | None = None, progress: Progress | None = None) -> Obtained:
    """The file of a source that has one: found on this machine, else downloaded; its checksum is right.

    Raises:
        DataError: see `fetch`.
    """
    found = locate(source, root) or fetch(source, progress=progress)
    (file,) = source.files
    path = found.paths[file.name]
    return Obtained(*read_checked(path, file), path, found.place)


def ways_to_get(source: Source) -> str:
    """How a user can get the files of a data set, in one line."""
    names = ", ".join(file.name for file in source.files)
    ways = [
        *source.ways,
        f"put {names} into a folder and give data.root=FOLDER or set D2L_DATA=FOLDER",
    ]
    if source.url:
        ways.append(f"run `d2l data fetch {source.name}` where there is a network (D2L_CACHE says where to)")
    return "; or ".join(ways)


def download(
    url: str,
    target: Path,
    *,
    digest: str,
    max_bytes: int,
    intact: Callable[[Path], bool] | None = None,
    progress: Progress | None = None,
    timeout: float = 10.0,
    attempts: int = 3,
    pause: float = 0.5,
) -> Path:
    """Download `url` to `target`, unless an intact copy is there.

    What arrives lies in `target`.part until its checksum is right.  A cut connection leaves the part for the next
    attempt, in this process or a later one.  A second process waits for the first and then finds the file.

    Args:
        url: http or https.
        target: the final path; its folder is made.
        digest: algorithm and hex digest of the file, "sha256:...", or "md5:..." where no better one is published.
        max_bytes: more is refused.
        intact: whether an existing file is good; None compares the digest.  A bad one is replaced.
        progress: called with each piece.
        timeout: seconds without a byte after which an attempt ends.
        attempts: how often to try before giving up.
        pause: seconds before the second attempt, doubled for each further one.

    Raises:
        DataError: no network, not found, too large, or a wrong checksum.
    """
    from filelock import FileLock

    if urlsplit(url).scheme not in WEB:
        raise DataError(f"{clean(url)}: only http and https are downloaded")
    good = intact or (lambda path: _digest(path, digest) == digest)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{target}.lock"):
            if not (target.is_file() and good(target)):
                _retry(url, target, digest, max_bytes, progress, timeout, attempts, pause)
    except OSError as error:
        raise DataError(f"{clean(target)}: cannot be written: {error.strerror or clean(error)}") from error
    return target


def _retry(
    url: str,
    target: Path,
    digest: str,
    max_bytes: int,
    progress: Progress | None,
    timeout: float,
    attempts: int,
    pause: float,
) -> None:
    part = target.with_name(target.name + ".part")
    for attempt in range(attempts):
        try:
            _receive(url, part, max_bytes, progress, timeout)
            break
        except _Interrupted as error:
            if attempt + 1 == attempts:
                have = part.stat().st_size if part.exists() else 0
                problem = f"the download of {clean(url)} was interrupted after {have} bytes: {clean(error)}"
                raise DataError(problem, "run the same command again to go on from there") from error
            time.sleep(pause * 2**attempt)
    _publish(part, target, digest, url)


def _receive(url: str, part: Path, max_bytes: int, progress: Progress | None, timeout: float) -> None:
    """Append what is missing of `url` to `part`."""
    have = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"User-Agent": "d2l", "Accept-Encoding": "identity"})
    if have:
        request.add_header("Range", f"bytes={have}-")
    try:
        with urllib.request.build_opener(_Redirects).open(request, timeout=timeout) as response:
            if not _continues(response, have):
                have = 0
            total = _announced(response, url, have, max_bytes)
            with open(part, "ab" if have else "wb") as stream:
                _copy(response, stream, url, part, have, total, max_bytes, progress)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416:  # the part is as long as the file, or longer: its checksum decides
            return
        if error.code >= 500:
            raise _Interrupted(f"the server answered {error.code}") from error
        raise DataError(f"{clean(url)}: the server answered {error.code} {clean(error.reason)}") from error
    except urllib.error.URLError as error:
        raise DataError(f"{clean(url)} cannot be reached: {clean(error.reason)}") from error
    except (TimeoutError, ConnectionError, http.client.HTTPException) as error:
        raise _Interrupted(str(error) or type(error).__name__) from error


def _continues(response: Any, have: int) -> bool:
    """Whether the answer starts where the part ends; a server without ranges sends the whole file."""
    start = response.headers.get("Content-Range", "").removeprefix("bytes ").partition("-")[0]
    return bool(response.status == 206 and start == str(have))


def _announced(response: Any, url: str, have: int, max_bytes: int) -> int | None:
    if response.headers.get_content_type() == "text/html":
        raise DataError(f"{clean(url)}: the server sent a web page instead of the file")
    length = response.headers.get("Content-Length", "")
    total = have + int(length) if length.isdecimal() else None
    if total is not None and total > max_bytes:
        raise DataError(f"{clean(url)}: {total} bytes are announced, more than the {max_bytes} that are expected")
    return total


def _copy(
    response: Any,
    stream: IO[bytes],
    url: str,
    part: Path,
    have: int,
    total: int | None,
    max_bytes: int,
    progress: Progress | None,
) -> None:
    name = part.name.removesuffix(".part")
    while piece := response.read(PIECE):
        have += len(piece)
        if have > max_bytes:
            part.unlink()
            raise DataError(f"{clean(url)}: more than the {max_bytes} bytes that are expected")
        stream.write(piece)
        if progress is not None:
            progress(name, have, total)
    stream.flush()
    os.fsync(stream.fileno())
    if total is not None and have < total:
        raise _Interrupted(f"the connection ended at {have} of {total} bytes")


def _publish(part: Path, target: Path, digest: str, url: str) -> None:
    """Give the checked part its name; remove it where the checksum is wrong."""
    actual = _digest(part, digest)
    if actual != digest:
        part.unlink()
        raise DataError(f"{clean(url)}: wrong checksum {actual}, expected {digest}; the file was removed")
    os.replace(part, target)
    folder = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _digest(path: Path, like: str) -> str:
    algorithm = like.partition(":")[0]
    with open(path, "rb") as stream:
        return f"{algorithm}:{hashlib.file_digest(stream, algorithm).hexdigest()}"

"""Reading archives that may be hostile: members are checked one by one and read into memory, never to disk."""

import io
import re
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Collection

from d2lcli.errors import DataError, clean


def read_members(
    content: bytes,
    path: object,
    *,
    max_members: int,
    max_bytes: int,
    max_ratio: int = 200,
    only: Collection[str] | None = None,
) -> dict[str, bytes]:
    """The regular files of a zip archive by name, in the archive's order.

    Args:
        content: the archive.
        path: named in errors.
        only: names to read; None reads all.  All are checked.
        max_members: more are refused.
        max_bytes: the limit on the sum of the sizes after decompression.
        max_ratio: the limit on size after to size before.

    Raises:
        DataError: not a zip archive, damaged, or a member that is a link, leaves the folder, clashes or is too large.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = [member for member in archive.infolist() if not member.is_dir()]
            _check(members, path, max_members, max_bytes, max_ratio)
            wanted = [member for member in members if only is None or member.filename in only]
            return {member.filename: _read(archive, member) for member in wanted}
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise DataError(f"{clean(path)}: damaged archive: {clean(error)}") from error


def _check(members: list[zipfile.ZipInfo], path: object, max_members: int, max_bytes: int, max_ratio: int) -> None:
    if len(members) > max_members:
        raise DataError(f"{clean(path)}: {len(members)} members, more than the {max_members} that are expected")
    total = sum(member.file_size for member in members)
    if total > max_bytes:
        raise DataError(f"{clean(path)}: {total} bytes of content, more than the {max_bytes} that are expected")
    seen: set[str] = set()
    for member in members:
        name = member.filename
        problem = ""
        if stat.S_IFMT(member.external_attr >> 16) not in (0, stat.S_IFREG):
            problem = "not a regular file"
        elif name.startswith("/") or "\\" in name or ":" in name or ".." in name.split("/"):
            problem = "a name that leaves the folder"
        elif name.casefold() in seen:
            problem = "a name that is there twice"
        elif member.file_size > max_ratio * max(1, member.compress_size):
            problem = f"compressed more than {max_ratio} times"
        if problem:
            raise DataError(
                f"{clean(path)}: refused, member '{clean(name)}' is {problem}".replace("is a name", "has a name")
            )
        seen.add(name.casefold())


def _read(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bytes:
    with archive.open(member) as stream:
        return stream.read(member.file_size + 1)


def read_tar(content: bytes, path: object, *, wanted: str, max_members: int, max_bytes: int) -> dict[str, bytes]:
    """The regular files of a tar archive, compressed by gzip, whose whole names match a pattern, in its order.

    Args:
        content: the archive.
        path: named in errors.
        wanted: a regular expression; what it does not match is passed over, whatever it is.
        max_members: more that match are refused.
        max_bytes: the limit on the sum of their sizes.

    Raises:
        DataError: not such an archive, damaged, or a member that is no regular file, is there twice or is too large.
    """
    pattern, found, total = re.compile(wanted), dict[str, bytes](), 0
    try:
        with tarfile.open(fileobj=io.BytesIO(content), mode="r:gz") as archive:
            for member in archive:
                if not pattern.fullmatch(member.name):
                    continue
                total += member.size
                if not member.isreg() or member.name in found:
                    problem = "there twice" if member.name in found else "not a regular file"
                    raise DataError(f"{clean(path)}: refused, member '{clean(member.name)}' is {problem}")
                if len(found) == max_members or total > max_bytes:
                    raise DataError(f"{clean(path)}: more than the {max_members} members of {max_bytes} bytes expected")
                stream = archive.extractfile(member)
                assert stream is not None
                found[member.name] = stream.read()
    except (tarfile.TarError, zlib.error, EOFError, OSError) as error:
        raise DataError(f"{clean(path)}: damaged archive: {clean(error)}") from error
    return found

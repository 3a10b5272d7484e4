"""Reading a zip archive that may be hostile: members are checked one by one and read into memory, never to disk."""

import io
import stat
import zipfile
import zlib

from d2lcli.errors import DataError, clean


def read_members(
    content: bytes, path: object, *, max_members: int, max_bytes: int, max_ratio: int = 200
) -> dict[str, bytes]:
    """The regular files of an archive by name, in the archive's order.

    Args:
        content: the archive.
        path: named in errors.
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
            return {member.filename: _read(archive, member) for member in members}
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

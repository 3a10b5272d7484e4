"""Where a study's database is: what the URL of `--storage` means."""

import os
from dataclasses import dataclass
from pathlib import Path

from d2lcli.errors import ConfigError, clean

KINDS = "sqlite:///FILE, postgresql://USER@HOST/NAME"


@dataclass(frozen=True)
class Place:
    """Where a database is.

    Args:
        shown: for messages; holds no password.
        file: of SQLite; None for a server.
        url: of a server, as SQLAlchemy takes it.
        secrets: texts that no message may hold.
    """

    shown: str
    file: Path | None = None
    url: str = ""
    secrets: tuple[str, ...] = ()


def read_url(url: str) -> Place:
    """The place that a URL names.  Of SQLite all behind `sqlite:///` is the file's name, whatever signs are in it.

    Raises:
        ConfigError: it is no URL, or one of another kind of database.
    """
    scheme, found, rest = url.partition("://")
    if not found:
        raise ConfigError(f"storage: '{clean(url, 80)}' is no URL (known: {KINDS})")
    if scheme == "sqlite":
        name = rest.removeprefix("/")
        if not rest.startswith("/") or "\0" in name or name in ("", ":memory:") or name.startswith("file:"):
            raise ConfigError("storage: an SQLite database must be a file: sqlite:///FILE or sqlite:////FOLDER/FILE")
        path = Path(os.path.realpath(name))
        return Place(clean(path), path)
    if scheme in ("postgresql", "postgresql+psycopg", "postgres"):
        return _read_server(rest)
    raise ConfigError(f"storage: '{clean(scheme, 40)}' is no kind of database that is known here (known: {KINDS})")


def _read_server(rest: str) -> Place:
    from sqlalchemy.engine import URL, make_url
    from sqlalchemy.exc import ArgumentError

    try:
        url = make_url(f"postgresql+psycopg://{rest}")
    except (ArgumentError, ValueError):  # what they say may hold the password
        raise ConfigError("storage: the URL cannot be read", "postgresql://USER:PASSWORD@HOST:PORT/NAME") from None
    shown = URL.create("postgresql", url.username, None, url.host, url.port, url.database).render_as_string()
    secrets = [str(each) for each in (url.password, url.query.get("password")) if each]
    return Place(clean(shown), None, url.render_as_string(hide_password=False), tuple(secrets))

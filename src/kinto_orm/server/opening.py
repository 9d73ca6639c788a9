"""Opening the embedded servers that a session is given as a URL."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote, urlsplit

from kinto_orm.errors import ConfigurationError
from kinto_orm.server.named import open_named
from kinto_orm.wire.connection import Connection, Options, connected, shown


def open_embedded(url: str, auth: Any, options: Options) -> Connection:
    """Open `memory://`, `sqlite:///file` or `local:///directory`.

    Raises:
        ConfigurationError: The URL is wrong, the file or directory cannot be used, or the extra
            `server` is missing.
    """
    openers = {"memory": open_memory, "sqlite": open_sqlite, "local": open_local}
    return openers[urlsplit(url).scheme](url, auth, options)


def open_memory(url: str, auth: Any, options: Options) -> Connection:
    """Open `memory://`, a private one, or `memory://name`.

    Raises:
        ConfigurationError: There are credentials in it, or the extra `server` is missing.
    """
    name = urlsplit(url).netloc
    if "@" in name:
        raise ConfigurationError(
            f"{shown(url)!r}: user and password of a memory:// server are given by auth=..."
        )
    opened = open_named(name)
    return _embedded(opened, url, auth, options, server=url if name else opened)


def open_local(url: str, auth: Any, options: Options) -> Connection:
    """Open `local:///directory`.

    Raises:
        ConfigurationError: It names no directory, or the extra `server` is missing.
    """
    parts = urlsplit(url)
    directory = unquote(parts.path)
    if parts.netloc or not directory.strip("/"):
        raise ConfigurationError(
            f"{shown(url)!r} names no directory: write local:///absolute/path, with three slashes"
        )
    from kinto_orm.server.local import open_local as open_directory

    return _embedded(open_directory(directory), url, auth, options)


def open_sqlite(url: str, auth: Any, options: Options) -> Connection:
    """Open `sqlite:///relative.db` or `sqlite:////absolute.db`.

    Raises:
        ConfigurationError: It names no file, the file cannot be used, or the extra `server` is
            missing.
    """
    from kinto_orm.server.file import open_sqlite as open_file
    from kinto_orm.server.sqlite.files import path_of

    path = path_of(url)
    return _embedded(open_file(path), url, auth, options, server=f"sqlite:{path}")


def _embedded(
    opened: Any, url: str, auth: Any, options: Options, *, server: object = None
) -> Connection:
    try:
        return connected(
            opened.base_url,
            url,
            "kinto",
            opened.auth if auth is None else auth,
            options,
            adapter=opened.adapter(),
            owned=opened.close,
            server=server,
        )
    except BaseException:
        opened.close()
        raise

"""Where there is no `local://`."""

from __future__ import annotations

import os
from collections.abc import Mapping

from kinto_orm.errors import ConfigurationError
from kinto_orm.server.embedded import EmbeddedServer


def open_local(
    directory: str | os.PathLike[str],
    *,
    settings: Mapping[str, str] | None = None,
    durable: bool = True,
) -> EmbeddedServer:
    """Refuse: the processes that share a directory need Unix's locks.

    Raises:
        ConfigurationError: Always.
    """
    raise ConfigurationError(
        f"local:///{os.fspath(directory)} needs Linux, macOS or WSL: on Windows use memory:// or "
        "a Kinto server"
    )

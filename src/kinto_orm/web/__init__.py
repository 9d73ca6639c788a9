"""A page in the browser over any Kinto: tables, forms, conflicts, history, permissions.

It needs the extra `web` (`pip install 'kinto-orm[web]'`), which is imported when it is used.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from kinto_orm.errors import ConfigurationError

if TYPE_CHECKING:
    from starlette.applications import Starlette

    from kinto_orm.wire.renewing import AsyncAuth

__all__ = ["app", "run"]

LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
"""The names of this machine by which a browser on it reaches the page."""

PORT = 8889
"""Where the page is by default: beside the Kinto of `serve`, which is at 8888."""

IDLE = 30 * 60.0
"""Seconds after which somebody who does nothing is logged out."""


def app(
    server_url: str | None = None,
    *,
    auth: AsyncAuth | None = None,
    bucket: str | None = None,
    read_only: bool = False,
    hosts: tuple[str, ...] = LOOPBACK,
    idle: float = IDLE,
) -> Starlette:
    """Make the page as an ASGI application.

    Args:
        server_url: As `AsyncSession` takes it. None: the variables of the environment.
        auth: As `AsyncSession` takes it: whoever opens the page acts as this user. None: each
            logs in on the page, with credentials that are kept in this process's memory only.
        bucket: The bucket with which the page begins; None: the list of the buckets.
        read_only: Refuse everything that writes.
        hosts: The names by which the page may be reached, without the port; others are refused.
        idle: Seconds after which somebody who does nothing is logged out.

    Raises:
        ConfigurationError: The extra `web` is missing, or the server's URL is wrong.
    """
    try:
        from kinto_orm.web.routes import application
        from kinto_orm.web.site import Site
    except ModuleNotFoundError as missing:
        raise _without_extra(missing) from missing
    return application(
        Site(server_url, auth=auth, bucket=bucket, read_only=read_only, hosts=hosts, idle=idle)
    )


def run(
    server_url: str | None = None,
    *,
    auth: AsyncAuth | None = None,
    bucket: str | None = None,
    read_only: bool = False,
    host: str = "127.0.0.1",
    port: int = PORT,
    hosts: tuple[str, ...] = (),
    idle: float = IDLE,
    ready: Callable[[str], object] | None = None,
) -> None:
    """Serve the page until it is interrupted.

    Args:
        server_url: As `AsyncSession` takes it. None: the variables of the environment.
        auth: As `app` takes it.
        bucket: The bucket with which the page begins; None: the list of the buckets.
        read_only: Refuse everything that writes.
        host: The address to listen at; by default nobody but this machine can reach the page.
        port: The port; 0 takes a free one.
        hosts: More names by which the page may be reached.
        idle: Seconds after which somebody who does nothing is logged out.
        ready: Called with the page's address once it answers; by default it is printed.

    Raises:
        ConfigurationError: The extra `web` is missing, an argument is wrong, or the page would be
            open to a network with everyone in it acting as one user.
        OSError: The port is taken.
    """
    try:
        from kinto_orm.web.serving import serve
    except ModuleNotFoundError as missing:
        raise _without_extra(missing) from missing
    serve(
        server_url,
        host=host,
        port=port,
        hosts=hosts,
        ready=ready,
        auth=auth,
        bucket=bucket,
        read_only=read_only,
        idle=idle,
    )


def _without_extra(missing: ModuleNotFoundError) -> ConfigurationError:
    return ConfigurationError(
        f"the page in the browser needs more packages ({missing}): pip install 'kinto-orm[web]'"
    )

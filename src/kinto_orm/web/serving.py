"""Serving the page: uvicorn on a port of this machine, until it is interrupted."""

from __future__ import annotations

import ipaddress
import socket
import sys
from collections.abc import Callable
from typing import Any, Final

import uvicorn

from kinto_orm.errors import ConfigurationError
from kinto_orm.web import LOOPBACK
from kinto_orm.web.routes import application
from kinto_orm.web.site import Site

_GRACE: Final = 2


class _Server(uvicorn.Server):
    """Says where the page is once it answers."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], object]) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to answer."""
        await super().startup(sockets)
        if self.started:
            self._ready()


def serve(
    server_url: str | None,
    *,
    host: str,
    port: int,
    hosts: tuple[str, ...],
    ready: Callable[[str], object] | None,
    **options: Any,
) -> None:
    """Serve the page; see `kinto_orm.web.run`.

    Raises:
        ConfigurationError: Everyone in a network would act as one user.
        OSError: The port is taken.
    """
    site = Site(server_url, hosts=_names(host, hosts), **options)
    if site.auth is not None and not _is_loopback(host):
        raise ConfigurationError(
            f"the page would let everyone who reaches {host} act as the user of auth=...: leave "
            "auth out, so that each logs in on the page, or listen at 127.0.0.1"
        )
    with _listening(host, port) as listening:
        address = _address(host, listening.getsockname()[1])
        config = uvicorn.Config(
            application(site),
            lifespan="on",
            log_level="warning",
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=_GRACE,
        )
        tell = ready or _say
        _Server(config, lambda: tell(address)).run(sockets=[listening])


def _say(address: str) -> None:
    sys.stdout.write(f"{address}\n")
    sys.stdout.flush()


def _names(host: str, more: tuple[str, ...]) -> tuple[str, ...]:
    """The names by which the page may be reached."""
    own = (f"[{host}]" if ":" in host else host.lower(),)
    known = LOOPBACK if _is_loopback(host) else own if _is_one(host) else LOOPBACK
    return tuple(dict.fromkeys((*known, *own, *map(str.lower, more))))


def _is_one(host: str) -> bool:
    """Whether this is one address, not all that the machine has."""
    return host not in ("0.0.0.0", "::", "")  # noqa: S104  (compared, not bound)


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _listening(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family)


def _address(host: str, port: int) -> str:
    """Where a browser on this machine finds the page."""
    name = host if _is_one(host) else "127.0.0.1"
    return f"http://{f'[{name}]' if ':' in name else name}:{port}/"

"""The way to a server: proxies and certificates, as they are given or from the environment."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import requests

from kinto_orm.errors import ConfigurationError

Verify = bool | str | os.PathLike[str]
Cert = str | tuple[str, str]


@dataclass(frozen=True)
class Route:
    """Which certificates are trusted and shown, and which proxies are asked; as requests has them.

    Attributes:
        verify: Whether the server's certificate is looked at; a path names a file or a directory
            of those that are trusted. None: as the environment says.
        cert: The path of the client's own certificate with its key, or the paths of both.
        proxies: URLs by scheme, before those of the environment.
    """

    verify: bool | str | None = None
    cert: Cert | None = None
    proxies: dict[str, str] = field(default_factory=dict)

    def completed(self, base_url: str) -> Route:
        """The same, with what the environment says besides, as requests reads it.

        Raises:
            ConfigurationError: The URL has no host.
        """
        if urlsplit(base_url).hostname is None:
            raise ConfigurationError(f"{base_url!r} is not a server URL: it has no host")
        with requests.Session() as session:
            found = session.merge_environment_settings(
                base_url, dict(self.proxies), False, self.verify, self.cert
            )
        return Route(found["verify"], found["cert"], dict(found["proxies"]))


def route_of(verify: Any, cert: Any, proxies: Any) -> Route:
    """The way that a session is given.

    Raises:
        ConfigurationError: A file is not there, or something is of another kind.
    """
    return Route(_verify(verify), _cert(cert), _proxies(proxies))


def _verify(given: Any) -> bool | str | None:
    if given is None or isinstance(given, bool):
        return given
    return _existing(given, "verify", "True, False, or the path of trusted certificates")


def _cert(given: Any) -> Cert | None:
    takes = "the path of a certificate with its key, or (certificate, key)"
    if given is None:
        return None
    if isinstance(given, tuple | list) and len(given) == 2:
        return _existing(given[0], "cert", takes), _existing(given[1], "cert", takes)
    return _existing(given, "cert", takes)


def _existing(given: Any, name: str, takes: str) -> str:
    """A path of something that is there."""
    if not isinstance(given, str | os.PathLike):
        raise ConfigurationError(f"{name}= takes {takes}, not {type(given).__name__}")
    path = os.fspath(given)
    if not os.path.exists(path):
        raise ConfigurationError(f"{name}={path!r}: there is no such file; it takes {takes}")
    return str(path)


def _proxies(given: Any) -> dict[str, str]:
    if given is None:
        return {}
    if not isinstance(given, Mapping) or not all(
        isinstance(each, str) for pair in given.items() for each in pair
    ):
        # Not shown: a proxy's URL may have a password.
        raise ConfigurationError(
            'proxies= takes URLs by scheme, as in {"https": "http://proxy.example:3128"}'
        )
    return dict(given)

"""Credentials: what may be given, and what they put on a request."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import requests
from pydantic import SecretStr
from requests.auth import AuthBase, HTTPBasicAuth
from requests.structures import CaseInsensitiveDict

from kinto_orm.errors import ConfigurationError

Auth = tuple[str, str] | str | AuthBase | Callable[[requests.PreparedRequest], Any]

_NOT_IN_HEADERS = re.compile("[\r\n\0]|[^\0-\xff]")


class BearerAuth(AuthBase):
    """Sends `Authorization: Bearer <token>`; its repr does not show the token."""

    def __init__(self, token: str) -> None:
        self._token = SecretStr(token)

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Put the header on a request."""
        request.headers["Authorization"] = f"Bearer {self._token.get_secret_value()}"
        return request

    def __eq__(self, other: object) -> bool:
        return isinstance(other, BearerAuth) and self._token == other._token

    def __hash__(self) -> int:
        return hash(self._token)

    def __repr__(self) -> str:
        return "BearerAuth(**********)"


def authenticator(auth: Auth | None) -> Callable[[requests.PreparedRequest], Any] | None:
    """What puts credentials on a request.

    Args:
        auth: A pair (user, password), the string "user:password", or what requests takes.

    Raises:
        ConfigurationError: It is none of these.
    """
    if auth is None or callable(auth):
        return auth
    pair = auth.split(":", 1) if isinstance(auth, str) else auth
    if not isinstance(pair, (tuple, list)) or len(pair) != 2:
        raise ConfigurationError(
            'auth must be ("user", "password"), "user:password", BearerAuth(token) or an '
            "authentication object of requests"
        )
    # Kinto reads credentials as UTF-8; requests would write str as latin-1.
    return HTTPBasicAuth(*(str(part).encode() for part in pair))


def constant_headers(
    auth: Callable[[requests.PreparedRequest], Any] | None,
) -> dict[str, str] | None:
    """What credentials add to every request, if that is always the same; else None."""
    if type(auth) not in (HTTPBasicAuth, BearerAuth) or auth is None:
        return None
    probe = requests.PreparedRequest()
    probe.headers = CaseInsensitiveDict()
    auth(probe)
    return dict(probe.headers)


def refuse_bad_headers(headers: Mapping[str, str | bytes]) -> None:
    """Refuse what cannot be sent; the values may be secret, and are not shown.

    Raises:
        ConfigurationError: A value has a line break, or a character beyond Latin-1.
    """
    for name, value in headers.items():
        text = value.decode("latin-1") if isinstance(value, bytes) else value
        if _NOT_IN_HEADERS.search(text):
            raise ConfigurationError(
                f"the header {name} cannot be sent: its value (a token, a password?) has a line "
                "break or a character that headers do not take; strip() what comes from a file"
            )

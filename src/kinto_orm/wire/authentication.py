"""Credentials: what may be given, and what they put on a request."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, TypeGuard

import requests
from pydantic import SecretStr
from requests.auth import AuthBase, HTTPBasicAuth
from requests.structures import CaseInsensitiveDict

from kinto_orm.errors import ConfigurationError

Secret = str | bytes | SecretStr
Auth = tuple[Secret, Secret] | str | AuthBase | Callable[[requests.PreparedRequest], Any]

_NOT_IN_HEADERS = re.compile("[\r\n\0]|[^\0-\xff]")
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
# What Kinto's openid plugin reads is "Bearer+OIDC"; schemes are compared without their case.
_TOKEN = re.compile(r"(bearer(?:\+[\w.-]+)?)(?:\s+(.*))?", re.IGNORECASE | re.DOTALL)


class BearerAuth(AuthBase):
    """Sends `Authorization: Bearer <token>`; its repr does not show the token.

    Args:
        token: The token by itself.
        type: The word before it; "Bearer+OIDC" is what Kinto's plugin openid reads.

    Raises:
        ConfigurationError: There is no token, or it cannot be one.
    """

    def __init__(self, token: str | SecretStr, type: str = "Bearer") -> None:
        text = _text_of(token)
        if not isinstance(text, str) or not text.strip() or re.search(r"[ \t]", text.strip()):
            raise ConfigurationError(
                "BearerAuth(token) takes the token by itself, a text without spaces, and no "
                '"Bearer" before it; the word before it is its type: BearerAuth(token, '
                'type="Bearer+OIDC")'
            )
        if not isinstance(type, str) or not _HEADER_NAME.fullmatch(type):
            raise ConfigurationError(
                f'the type of a token is one word, such as "Bearer" or "Bearer+OIDC", not {type!r}'
            )
        self._token = SecretStr(text)
        self._type = type

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Put the header on a request."""
        request.headers["Authorization"] = f"{self._type} {self._token.get_secret_value()}"
        return request

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, BearerAuth)
            and self._token == other._token
            and self._type.lower() == other._type.lower()
        )

    def __hash__(self) -> int:
        return hash((self._token, self._type.lower()))

    def __repr__(self) -> str:
        shown = "" if self._type == "Bearer" else f", type={self._type!r}"
        return f"BearerAuth(**********{shown})"


def authenticator(auth: Auth | None) -> Callable[[requests.PreparedRequest], Any] | None:
    """What puts credentials on a request.

    Args:
        auth: A pair (user, password), the string "user:password", the string "Bearer token", or
            what requests takes.

    Raises:
        ConfigurationError: It is none of these.
    """
    if auth is None or (callable(auth) and not isinstance(auth, type)):
        return auth
    if isinstance(auth, str):
        token = _TOKEN.fullmatch(auth)
        if token is not None:
            return BearerAuth(token[2] or "", type=token[1])
    pair: object = tuple(auth.split(":", 1)) if isinstance(auth, str) else auth
    if not _is_pair(pair):
        raise ConfigurationError(
            'auth must be ("user", "password"), "user:password", "Bearer token", '
            "BearerAuth(token) or an authentication object of requests; an AsyncSession takes a "
            "function or a coroutine function without arguments, too, that returns headers"
        )
    user, password = (_bytes_of(part) for part in pair)
    if b":" in user:
        raise ConfigurationError(
            "the user in auth has a colon in it: the server would read what follows as the password"
        )
    return HTTPBasicAuth(user, password)


def _is_pair(auth: object) -> TypeGuard[tuple[Secret, Secret]]:
    kinds = (str, bytes, SecretStr)
    return (
        isinstance(auth, (tuple, list))
        and len(auth) == 2
        and all(isinstance(part, kinds) for part in auth)
    )


def _text_of(secret: object) -> object:
    return secret.get_secret_value() if isinstance(secret, SecretStr) else secret


def _bytes_of(secret: Secret) -> bytes:
    # Kinto reads credentials as UTF-8; requests would write str as latin-1.
    text = secret.get_secret_value() if isinstance(secret, SecretStr) else secret
    try:
        return text if isinstance(text, bytes) else text.encode()
    except UnicodeEncodeError:
        # Not its cause: that shows the text.
        raise ConfigurationError(
            "the user or the password in auth has half of a surrogate pair in it, which is no "
            "Unicode character"
        ) from None


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


def as_headers(headers: Mapping[str, str | bytes] | None) -> dict[str, str | bytes]:
    """The headers that a session is given for each request.

    Raises:
        ConfigurationError: They are no mapping, or cannot be sent.
    """
    if headers is None:
        return {}
    if not isinstance(headers, Mapping):
        raise ConfigurationError(
            f"headers is a dict of texts, such as {{'X-Team': 'blue'}}, not a "
            f"{type(headers).__name__}"
        )
    refuse_bad_headers(headers)
    return dict(headers)


def refuse_bad_headers(headers: Mapping[str, str | bytes]) -> None:
    """Refuse what cannot be sent; the values may be secret, and are not shown.

    Raises:
        ConfigurationError: A name is none, or a value is no text, has a line break, or a
            character beyond Latin-1.
    """
    for name, value in headers.items():
        if not isinstance(name, str) or not _HEADER_NAME.fullmatch(name):
            raise ConfigurationError(f"{name!r} cannot be the name of a header")
        text = value.decode("latin-1") if isinstance(value, bytes) else value
        if not isinstance(text, str):
            raise ConfigurationError(
                f"the header {name} is a text, not of the type {type(value).__name__}"
            )
        if _NOT_IN_HEADERS.search(text):
            raise ConfigurationError(
                f"the header {name} cannot be sent: its value (a token, a password?) has a line "
                "break or a character that headers do not take; strip() what comes from a file"
            )

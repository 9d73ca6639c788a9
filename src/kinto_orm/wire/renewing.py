"""Credentials for a session that awaits: what gives the headers that say who asks."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeAlias

import requests
from requests.auth import AuthBase, HTTPDigestAuth
from requests.structures import CaseInsensitiveDict

from kinto_orm.errors import ConfigurationError
from kinto_orm.wire.authentication import (
    Auth,
    authenticator,
    constant_headers,
    refuse_bad_headers,
)
from kinto_orm.wire.messages import Request

Headers = Mapping[str, str]
AsyncAuth: TypeAlias = Auth | Callable[[], Headers | Awaitable[Headers]]


class HeaderSource:
    """Gives the headers that say who asks.

    Args:
        auth: As an AsyncSession takes it.

    Attributes:
        constant: The headers, if they are always the same; else None.

    Raises:
        ConfigurationError: It cannot be one, or needs more than headers.
    """

    def __init__(self, auth: AsyncAuth) -> None:
        self._renew: Any = auth if _takes_nothing(auth) else None
        self._sign: Any = None if self._renew is not None else authenticator(auth)  # type: ignore[arg-type]
        self.constant = constant_headers(self._sign)
        if isinstance(self._sign, HTTPDigestAuth):
            raise _needs_more(self._sign)

    async def fetch(self, base_url: str, request: Request, headers: Headers) -> dict[str, str]:
        """Get all headers of a request, with those that say who asks.

        Args:
            base_url: The server's.
            request: What is sent.
            headers: The others.

        Raises:
            ConfigurationError: What was given gives no headers, or does more than that.
        """
        if self._renew is None:
            return self._signed(base_url, request, headers)
        given = self._renew()
        given = await given if inspect.isawaitable(given) else given
        if not isinstance(given, Mapping):
            raise ConfigurationError(
                "the function that was given as auth returns headers, as in "
                f'{{"Authorization": "Bearer ..."}}, not a {type(given).__name__}'
            )
        refuse_bad_headers(given)
        return dict(CaseInsensitiveDict(headers, **given))

    def _signed(self, base_url: str, request: Request, headers: Headers) -> dict[str, str]:
        prepared = requests.PreparedRequest()
        prepared.method, prepared.url = request.method, base_url + request.target
        prepared.body, prepared.headers = request.body, CaseInsensitiveDict(headers)
        prepared.hooks = {"response": []}
        prepared._cookies = requests.cookies.RequestsCookieJar()  # type: ignore[attr-defined]
        before = (prepared.method, prepared.url, prepared.body)
        self._sign(prepared)
        if prepared.hooks["response"] or (prepared.method, prepared.url, prepared.body) != before:
            raise _needs_more(self._sign)
        refuse_bad_headers(prepared.headers)
        return dict(prepared.headers)


def _takes_nothing(auth: object) -> bool:
    """Whether it is a function to be called without arguments."""
    if isinstance(auth, AuthBase | type) or not callable(auth):
        return False
    parameters = inspect.signature(auth).parameters.values()
    variable = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return all(each.kind in variable or each.default is not each.empty for each in parameters)


def _needs_more(auth: object) -> ConfigurationError:
    return ConfigurationError(
        f"an AsyncSession takes an authentication that sets headers; {type(auth).__name__} does "
        "more than that (it looks at answers, or changes what is sent). Use a Session, or give a "
        "function that returns headers: auth=renew, with `async def renew(): ...`"
    )

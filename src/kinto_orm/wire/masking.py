"""Hiding credentials in what a server says: an error page may repeat the request."""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any
from urllib.parse import quote, quote_plus

from kinto_orm.wire.forking import cached_property

MASK = "***"

_MAY_BE_SECRET = re.compile(
    r"auth|cookie|token|key|secret|passw|signature|credential", re.IGNORECASE
)
# Whatever follows the name of the header, to the end of the line or of what it is written in.
_ECHO = re.compile(
    r"""((?:authorization|cookie)(?:\\*["'])?\s*[:=]>?\s*(?:\\*["'])?)[^"'\r\n<>\\]+""",
    re.IGNORECASE,
)
_OF_CREDENTIALS = r"[\w+/=.~%-]"
# What is as short as this is hidden as a whole word only: it may be a part of any word.
_SHORT = 8
# A letter may be the end of a quoted sign: %22.
_BEFORE = r"(?:(?<!\w)|(?<=%[0-9A-Fa-f]{2}))"


class Mask:
    """Hides the credentials that were sent.

    They are looked for as they were sent, as a user and a password, quoted as URLs, HTML and
    JSON quote, and cut off: the beginning of a token is hidden, too.

    Args:
        sent: The headers that were sent.
    """

    shows_bodies = True
    """Whether the beginning of an answer that nobody can read is shown."""

    def __init__(self, sent: Mapping[str, str | bytes]) -> None:
        self._sent = sent

    def __call__(self, text: str) -> str:
        """The text without them."""
        text = _ECHO.sub(rf"\1{MASK}", text)
        for pattern in self._patterns:
            text = pattern.sub(MASK, text)
        for scheme, credentials in self._credentials:
            text = _without_beginning(text, scheme, credentials)
        return text

    def inside(self, value: Any) -> Any:
        """A JSON value whose texts are without them."""
        if isinstance(value, str):
            return self(value)
        if isinstance(value, list):
            return [self.inside(each) for each in value]
        if isinstance(value, dict):
            return {name: self.inside(each) for name, each in value.items()}
        return value

    @cached_property
    def _credentials(self) -> list[tuple[str, str]]:
        """The values of headers that are secret: the scheme, and what follows it."""
        found = []
        for name, value in self._sent.items():
            if _MAY_BE_SECRET.search(name):
                text = value.decode("latin-1") if isinstance(value, bytes) else value
                scheme, _, rest = text.strip().partition(" ")
                found.append((scheme, rest.strip()) if rest else ("", scheme))
        return found

    @cached_property
    def _patterns(self) -> list[re.Pattern[str]]:
        patterns = []
        for scheme, credentials in self._credentials:
            patterns += [_beginning(form) for form in _forms(credentials)]
            if scheme.lower() == "basic":
                patterns += [_whole(form) for form in _forms(_password(credentials))]
        return patterns


class Veiled(Mask):
    """Hides texts besides what another one hides, and all of a body.

    Args:
        mask: The other one.
        texts: Gives the texts; called once, when there is something to be hidden in.
    """

    shows_bodies = False

    def __init__(self, mask: Mask, texts: Callable[[], Iterable[str]]) -> None:
        super().__init__({})
        self._mask = mask
        self._texts = texts

    def __call__(self, text: str) -> str:
        """The text without them."""
        return self._mask(super().__call__(text))

    @cached_property
    def _patterns(self) -> list[re.Pattern[str]]:
        # Of two that begin alike the longer one first.
        texts = sorted(set(self._texts()), key=len, reverse=True)
        return [_beginning(form) for each in texts for form in _forms(each)]


NOTHING_SENT = Mask({})


def _forms(secret: str) -> Iterator[str]:
    """The ways in which an answer may quote a secret."""
    if secret:
        written = {
            secret,
            json.dumps(secret)[1:-1],
            json.dumps(secret, ensure_ascii=False)[1:-1],
            repr(secret)[1:-1],
        }
        quoting = (quote, partial(quote, safe=""), quote_plus, html.escape)
        forms = written.union(*(map(each, written) for each in quoting))
        yield from sorted(forms, key=len, reverse=True)


def _beginning(form: str) -> re.Pattern[str]:
    if len(form) < _SHORT:
        return _whole(form)
    return re.compile(f"{re.escape(form)}|{re.escape(form[:_SHORT])}{_OF_CREDENTIALS}*")


def _whole(form: str) -> re.Pattern[str]:
    exact = re.escape(form)
    return re.compile(exact if len(form) >= _SHORT else rf"{_BEFORE}{exact}(?!\w)")


def _password(credentials: str) -> str:
    """The secret of HTTP Basic; where there is no password the user is one: a key of an API."""
    try:
        pair = base64.b64decode(credentials).decode("utf-8", "replace")
    except ValueError:
        return ""
    user, _, password = pair.partition(":")
    return password or user


def _without_beginning(text: str, scheme: str, credentials: str) -> str:
    """The text without a beginning of the credentials, however short, that follows the scheme."""
    if not scheme:
        return text

    def hide(found: re.Match[str]) -> str:
        return f"{found[1]}{MASK}" if credentials.startswith(found[2]) else found[0]

    pattern = rf"({re.escape(scheme)}\s+)({_OF_CREDENTIALS}+)"
    return re.sub(pattern, hide, text, flags=re.IGNORECASE)

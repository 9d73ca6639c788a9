"""HTTP as data: paths and preconditions, one request and one answer."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeGuard
from urllib.parse import quote, urlencode

from kinto_orm.errors import BadReply, InvalidData
from kinto_orm.wire.jsonvalues import decode
from kinto_orm.wire.masking import NOTHING_SENT, Mask
from kinto_orm.wire.veils import Veil, masked

JSON_PATCH = "application/json-patch+json"

_ID = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_-]*")
_ACCOUNT_ID = re.compile(r"[a-zA-Z0-9][+.@a-zA-Z0-9_-]*")
_SIGNS = "'-' and '_' (no spaces, dots or slashes)"
_ACCOUNT_SIGNS = "'-', '_', '+', '.' and '@' (no spaces or slashes)"
_MOST_DIGITS = 20

# Bytes of an answer that is shown: the beginning, and what an echo of the request may be long.
_LOOKED_AT = 10_000


@dataclass(slots=True)
class Request:
    """One HTTP request, without server and credentials.

    Attributes:
        method: In capitals.
        path: Below the server's URL, quoted, with a leading slash.
        query: The quoted query string, without `?`.
        body: JSON in UTF-8; None for none.
        headers: Those of this request only.
        alone: True when a batch must not carry it (a list as body, a change of structure).
        repeatable: True when sending it twice does no more than sending it once.
        doing: What it is for, for who watches: "save Todo 'x'"; empty when nobody has said.
        carried: The requests that it carries as a batch; empty for others.
        veil: Hides the values of secret fields; None where there are none.
    """

    method: str
    path: str
    query: str = ""
    body: bytes | None = None
    headers: dict[str, str] = field(default_factory=dict)
    alone: bool = False
    repeatable: bool = True
    doing: str = field(default="", compare=False)
    carried: tuple[Request, ...] = field(default=(), compare=False)
    veil: Veil | None = field(default=None, compare=False)

    @property
    def target(self) -> str:
        """Path and query, as they are sent."""
        return f"{self.path}?{self.query}" if self.query else self.path

    @property
    def shown(self) -> Request:
        """The same as it may be shown: without the values of secret fields, and without a body."""
        if self.veil is None:
            return self
        return replace(self, query=self.veil.query(self.query), body=None, carried=())

    def masked(self, mask: Mask) -> Mask:
        """What hides, in what is said of the answer, what this has of secret fields."""
        return mask if self.veil is None else masked(mask, self.secrets)

    def secrets(self) -> Iterator[object]:
        """The values of secret fields that it has."""
        if self.veil is not None and not self.carried:
            yield from self.veil.sent(self.query, self.body)
        for each in self.carried:
            yield from each.secrets()

    def __repr__(self) -> str:
        return f"<{self.method} {self.shown.target}>"


class Reply:
    """One HTTP answer.

    Args:
        status: The HTTP status.
        headers: Case does not matter in their names.
        body: The bytes as they came; empty for none.
        lost: Whether an earlier sending may have done the work, and its answer was lost.
        mask: Hides the credentials that were sent, in what is shown of the answer.

    Attributes:
        doing: What it answers, for errors: "save Todo 'x'"; empty when nobody has said.
    """

    __slots__ = ("_json", "body", "doing", "headers", "lost", "mask", "status")

    def __init__(
        self,
        status: int,
        headers: Mapping[str, str],
        body: bytes,
        lost: bool = False,
        mask: Mask = NOTHING_SENT,
    ) -> None:
        self.status = status
        self.headers = headers
        self.body = body
        self.lost = lost
        self.mask = mask
        self.doing = ""
        self._json: Any = None

    def __repr__(self) -> str:
        return f"<Reply {self.status}>"

    @classmethod
    def parsed(
        cls,
        status: int,
        headers: Mapping[str, str],
        content: object,
        lost: bool = False,
        *,
        mask: Mask = NOTHING_SENT,
        as_bytes: bool = True,
    ) -> Reply:
        """A reply whose body was parsed as a part of another one; its bytes only on demand."""
        body = json.dumps(content).encode() if content and as_bytes else b""
        reply = cls(status, headers, body, lost, mask)
        reply._json = content if isinstance(content, dict) else None
        return reply

    @property
    def json(self) -> dict[str, Any]:
        """The body parsed, always an object.

        Raises:
            BadReply: It is no JSON object, or there is none: in the answer to a HEAD, and in a
                304 (nothing changed since).
        """
        if self._json is None:
            if not self.body and self.status < 400:
                raise self.bad(self._bodyless())
            try:
                parsed = decode(self.body)
            except (ValueError, RecursionError) as error:
                raise self.bad() from error
            if not isinstance(parsed, dict):
                raise self.bad()
            self._json = parsed
        return self._json  # type: ignore[no-any-return]

    @property
    def object(self) -> dict[str, Any]:
        """The body of an answer about one object: `data`, and perhaps `permissions`.

        Raises:
            BadReply: It is no such answer.
        """
        self.require(is_object(self.json.get("data")))
        self.require(_is_access_list(self.json.get("permissions")))
        return self.json

    @property
    def objects(self) -> list[dict[str, Any]]:
        """The objects of a list's page.

        Raises:
            BadReply: It is no list of objects.
        """
        data = self.json.get("data")
        self.require(isinstance(data, list) and all(map(is_object, data)))
        return data  # type: ignore[return-value]

    @property
    def total(self) -> int:
        """How many objects there are, from the headers of a HEAD.

        Raises:
            BadReply: The headers do not say.
        """
        digits = self.headers.get("Total-Objects") or self.headers.get("Total-Records") or ""
        total = whole_number(digits)
        if total is None:
            raise self.bad(
                f"the answer ({self.status}) to a HEAD has no header Total-Objects, as that of a "
                "Kinto server; is the server URL right, and does a proxy answer instead?"
            )
        return total

    @property
    def is_lost(self) -> bool:
        """Whether the server may have done the work, though this refuses it.

        A gateway answers 502 or 504 when it lost the server's own answer, and 503 in HTML. Kinto's
        503, 409 and 429 say that nothing was done; its 500 may have stored the write on the
        memory backend, which does not roll back.
        """
        return self.status >= 500 and not (self.status == 503 and self._is_of_kinto)

    @property
    def _is_of_kinto(self) -> bool:
        try:
            return isinstance(self.json.get("errno"), int)
        except BadReply:
            return False

    def bad(self, what: str = "") -> BadReply:
        """The error that says that this is no answer to what was asked.

        Args:
            what: What is wrong; by default the beginning of the body is shown.
        """
        wrong = what or self.complaint()
        return BadReply(f"cannot {self.doing}: {wrong}" if self.doing else wrong)

    def require(self, condition: bool) -> None:
        """Make sure that the answer is what it has to be.

        Raises:
            BadReply: It is not.
        """
        if not condition:
            raise self.bad()

    def require_id(self, raw: Mapping[str, Any], id: str) -> None:
        """Make sure that the answer is about the object that was asked for.

        Raises:
            BadReply: It is about another one: a proxy or a cache mixed answers up.
        """
        if raw.get("id") != id:
            raise self.bad(
                f"the answer is about {str(raw.get('id'))[:80]!r}, and {id!r} was asked for; does "
                "a proxy or a cache mix answers up?"
            )

    def _bodyless(self) -> str:
        """What to say of an answer without a body."""
        if self.status == 304:
            return (
                "the answer (304) has no body, since nothing changed (If-None-Match); look at "
                "reply.status before reply.json"
            )
        return f"{self.complaint()} (The answer to a HEAD has no body: read its headers.)"

    def complaint(self) -> str:
        """What is wrong with a body that is no JSON object."""
        kind = self.mask(self.headers.get("Content-Type", "no content type"))
        # Hidden before it is cut: half of a secret would not be known for one.
        start = self.mask(self.body[:_LOOKED_AT].decode("utf-8", "replace"))[:60]
        what = f"it starts with {start!r}" if start else "it is empty"
        if start and not self.mask.shows_bodies:
            what = "it is not shown, for it may have values of secret fields"
        return (
            f"the answer ({self.status}, {kind}) is not what a Kinto server answers; {what}. "
            "Is the server URL right, and does a proxy answer instead?"
        )


def is_object(value: object) -> TypeGuard[dict[str, Any]]:
    """Whether this is the data of a stored object: it has an id and a timestamp."""
    return (
        isinstance(value, dict)
        and isinstance(value.get("id"), str)
        and type(value.get("last_modified")) is int
    )


def _is_access_list(value: object) -> bool:
    """Whether this is what an answer says of permissions: lists of principals, or nothing."""
    return value is None or (
        isinstance(value, dict)
        and all(isinstance(who, list) for who in value.values())
        and all(isinstance(each, str) for who in value.values() for each in who)
    )


# Paths and queries: ids are checked and quoted, never rewritten


def segment(value: str, kind: str) -> str:
    """Check an id against the server's rule and quote it for a path; it is never rewritten.

    Args:
        value: The id of a bucket, group, collection, record or account.
        kind: What it is the id of, for the message.

    Raises:
        InvalidData: The server would refuse this id. Kinto's rule is
            `^[a-zA-Z0-9][a-zA-Z0-9_-]*$` (accounts also `+.@`).
    """
    if not isinstance(value, str):
        raise InvalidData(
            f"{value!r:.80} cannot be the id of {'an' if kind == 'account' else 'a'} {kind}: an id "
            f"is a text, and this is of the type {type(value).__name__}. Write str(...), or .id of "
            "an object. Nothing was sent."
        )
    if not _rule(kind).fullmatch(value):
        rest = _ACCOUNT_SIGNS if kind == "account" else _SIGNS
        raise InvalidData(
            f"{value!r} cannot be the id of {'an' if kind == 'account' else 'a'} {kind}: an id "
            f"starts with a letter or digit, then come letters, digits, {rest}. Nothing was sent."
        )
    return quote(value, safe="") if kind == "account" else value


def id_pattern(kind: str) -> str:
    """The server's rule for ids as a regular expression, as JSON schemas write it."""
    return f"^{_rule(kind).pattern}$"


def _rule(kind: str) -> re.Pattern[str]:
    return _ACCOUNT_ID if kind == "account" else _ID


def query_string(params: Iterable[tuple[str, str]]) -> str:
    """Quote parameters for a URL; spaces become `%20`."""
    return urlencode(list(params), quote_via=quote)


# Preconditions: what the server has to have, for a request to do anything


def if_match(last_modified: int) -> dict[str, str]:
    """The precondition for changing what has not changed since `last_modified` (milliseconds).

    The server takes "0" for no condition at all, so 0 is refused here.
    """
    if last_modified <= 0:
        raise InvalidData(f"last_modified must be a positive timestamp, not {last_modified}")
    return {"If-Match": f'"{last_modified}"'}


def if_none_match(last_modified: int | None = None) -> dict[str, str]:
    """The precondition for a creation (None), or for fetching only what is newer."""
    return {"If-None-Match": "*" if last_modified is None else f'"{last_modified}"'}


def timestamp(headers: Mapping[str, str]) -> int | None:
    """The ETag of a reply in milliseconds; None where there is none."""
    return whole_number(headers.get("ETag", "").removeprefix("W/").strip('"'))


def whole_number(digits: str) -> int | None:
    """The number that a header gives, None when it gives none or more than 64 bits."""
    return int(digits) if digits.isdecimal() and len(digits) < _MOST_DIGITS else None

"""One request and one answer, as plain data."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeGuard

from kinto_orm.errors import BadReply
from kinto_orm.wire.encoding import decode
from kinto_orm.wire.masking import NOTHING_SENT, Mask
from kinto_orm.wire.preconditions import whole_number

JSON_PATCH = "application/json-patch+json"

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
    """

    method: str
    path: str
    query: str = ""
    body: bytes | None = None
    headers: dict[str, str] = field(default_factory=dict)
    alone: bool = False
    repeatable: bool = True

    @property
    def target(self) -> str:
        """Path and query."""
        return f"{self.path}?{self.query}" if self.query else self.path

    def __repr__(self) -> str:
        return f"<{self.method} {self.target}>"


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
            BadReply: It is no JSON object.
        """
        if self._json is None:
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

    def complaint(self) -> str:
        """What is wrong with a body that is no JSON object."""
        kind = self.mask(self.headers.get("Content-Type", "no content type"))
        # Hidden before it is cut: half of a secret would not be known for one.
        start = self.mask(self.body[:_LOOKED_AT].decode("utf-8", "replace"))[:60]
        what = f"it starts with {start!r}" if start else "it is empty"
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

"""Kinto's HTTP protocol as plain data: paths, preconditions, requests, replies and calls.

Nothing here sends anything. A model makes a `Call`; the session runs it, or a batch queues it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Generic, NoReturn, TypeGuard, TypeVar
from urllib.parse import quote, urlencode

from kinto_orm.encoding import decode
from kinto_orm.errors import (
    BadReply,
    Conflict,
    Forbidden,
    InvalidData,
    KintoError,
    NotFound,
    ResponseError,
    ServerError,
    Unauthorized,
    Unsupported,
    again,
)
from kinto_orm.masking import NOTHING_SENT, Mask

T = TypeVar("T")
U = TypeVar("U")

JSON_PATCH = "application/json-patch+json"

# facts: https://docs.kinto-storage.org/en/stable/api/1.x/errors.html
ERRNO_MISSING = 110
ERRNO_MISSING_PARENT = 111
ERRNO_FORBIDDEN = 121
ERRNO_CONSTRAINT = 122

# Bytes of an answer that is shown: the beginning, and what an echo of the request may be long.
_LOOKED_AT = 10_000
_MOST_DIGITS = 20

_ID = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_-]*")
_ACCOUNT_ID = re.compile(r"[a-zA-Z0-9][+.@a-zA-Z0-9_-]*")
_SIGNS = "'-' and '_' (no spaces, dots or slashes)"
_ACCOUNT_SIGNS = "'-', '_', '+', '.' and '@' (no spaces or slashes)"


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
    return _whole_number(headers.get("ETag", "").removeprefix("W/").strip('"'))


def _whole_number(digits: str) -> int | None:
    """The number that a header gives, None when it gives none or more than 64 bits."""
    return int(digits) if digits.isdecimal() and len(digits) < _MOST_DIGITS else None


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
    """

    __slots__ = ("_json", "body", "headers", "lost", "mask", "status")

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
        self._json: Any = None

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
                raise BadReply(self.complaint()) from error
            if not isinstance(parsed, dict):
                raise BadReply(self.complaint())
            self._json = parsed
        return self._json  # type: ignore[no-any-return]

    @property
    def object(self) -> dict[str, Any]:
        """The body of an answer about one object: `data`, and perhaps `permissions`.

        Raises:
            BadReply: It is no such answer.
        """
        _require(is_object(self.json.get("data")), self)
        _require(_is_access_list(self.json.get("permissions")), self)
        return self.json

    @property
    def objects(self) -> list[dict[str, Any]]:
        """The objects of a list's page.

        Raises:
            BadReply: It is no list of objects.
        """
        data = self.json.get("data")
        _require(isinstance(data, list) and all(map(is_object, data)), self)
        return data  # type: ignore[return-value]

    @property
    def total(self) -> int:
        """How many objects there are, from the headers of a HEAD.

        Raises:
            BadReply: The headers do not say.
        """
        digits = self.headers.get("Total-Objects") or self.headers.get("Total-Records") or ""
        total = _whole_number(digits)
        if total is None:
            raise BadReply(
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


def require_id(raw: Mapping[str, Any], id: str) -> None:
    """Make sure that an answer is about the object that was asked for.

    Raises:
        BadReply: It is about another one: a proxy or a cache mixed answers up.
    """
    if raw.get("id") != id:
        raise BadReply(
            f"the answer is about {str(raw.get('id'))[:80]!r}, and {id!r} was asked for; does a "
            "proxy or a cache mix answers up?"
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


def _require(condition: bool, reply: Reply) -> None:
    if not condition:
        raise BadReply(reply.complaint())


@dataclass(slots=True)
class Call(Generic[T]):
    """A request, and what to do with its reply.

    Attributes:
        request: What is sent.
        receive: Takes a reply below 400 and gives the call's result.
        doing: The act and its object, for errors: "save Todo 'x'".
        refused: Takes the error of a reply from 400 on; gives the result after all, or raises.
        parents: What must exist first; see `Parents`. None: nothing is created.
    """

    request: Request
    receive: Callable[[Reply], T]
    doing: str = ""
    refused: Callable[[ResponseError, Reply], T] | None = None
    parents: Parents | None = None

    def complete(self, reply: Reply) -> T:
        """Give the reply back to whoever made the call.

        Raises:
            KintoError: What the reply means when it is a refusal.
        """
        try:
            if reply.status < 300 or reply.status == 304:
                return self.receive(reply)
            error = self.error(reply)
            if self.refused is None:
                raise error
            return self.refused(error, reply)
        except BadReply as error:
            self._say_what(error)

    def error(self, reply: Reply) -> ResponseError:
        """What a refusing reply means, with the remedy when a parent is missing."""
        error = error_for(reply, self.request, self.doing)
        if self.parents is not None and self.parents.missing(error) and not _has_reason(reply):
            error.args = (f"{error} {self.parents.remedy(error)}",)
        return error

    def _say_what(self, error: KintoError) -> NoReturn:
        raise again(error, f"cannot {self.doing}: {error}") from error

    def then(self, step: Callable[[T], U]) -> Call[U]:
        """The same request, its result passed through `step`."""
        refused = self.refused
        return Call(
            self.request,
            lambda reply: step(self.receive(reply)),
            self.doing,
            None if refused is None else lambda error, reply: step(refused(error, reply)),
            self.parents,
        )


@dataclass(frozen=True, slots=True)
class Parents:
    """The bucket and the collection that a call needs, made when they are missing.

    Attributes:
        bucket: The bucket's id.
        collection: The collection's id; None when only the bucket is needed.
        permitted: Whether the library may make the collection, and the bucket if it is the user's
            personal one; it never makes another bucket. If not, it may explain.
        model: The model's name for the explanation; empty when it has no schema to sync.
        loaded: Whether the object was loaded from there, so that the bucket exists.
    """

    bucket: str
    collection: str | None
    permitted: bool
    model: str = ""
    loaded: bool = False

    def explaining(self, *, loaded: bool = False) -> Parents:
        """The same, but not to be made: the object was there already, or is only read."""
        return Parents(self.bucket, self.collection, False, self.model, loaded)

    def missing(self, error: ResponseError) -> bool:
        """Whether this refusal says that one of the two does not exist.

        An unknown bucket is 403 (401 for the anonymous), an unknown collection 404 with
        errno 111.
        """
        if isinstance(error, NotFound):
            return error.errno == ERRNO_MISSING_PARENT
        return is_hidden(error)

    def remedy(self, error: ResponseError) -> str:
        """What to do about it, for the message."""
        sync = f"call session.sync_schema({self.model}), or " if self.model else ""
        if isinstance(error, NotFound) and not self.permitted:
            return (
                f"The collection {self.collection!r} of bucket {self.bucket!r} does not exist: "
                f"{sync}save Collection(id={self.collection!r}, bucket={self.bucket!r}) first."
            )
        if self.loaded:
            verb = "read" if error.request and error.request.method == "GET" else "write"
            inside = f", its collection {self.collection!r}" if self.collection else ""
            return (
                f"It was loaded from there, so that you lack the permission {verb!r} on it{inside} "
                f"or the bucket {self.bucket!r}."
            )
        return (
            f"The bucket {self.bucket!r} does not exist, or you may not use it (the server does "
            f"not say which): {sync}save Bucket(id={self.bucket!r}) first, or ask for permission."
        )


_BY_STATUS: dict[int, tuple[type[ResponseError], str]] = {
    400: (InvalidData, "the server refuses the data"),
    401: (Unauthorized, "no credentials, or wrong ones; check the session's auth"),
    403: (Forbidden, "not allowed, or it does not exist (the server does not say which)"),
    404: (NotFound, "not found"),
    405: (Unsupported, "the server does not allow this; it may be in read-only mode"),
    406: (InvalidData, "the server refuses the data"),
    409: (Conflict, "the server is busy with a conflicting write"),
    410: (Unsupported, "the server's API has come to its end of life"),
    412: (Conflict, "it was changed or created by somebody else"),
    413: (InvalidData, "the data is too large"),
    415: (InvalidData, "the server refuses the data"),
    429: (ServerError, "too many requests"),
}


# What such a status says of the stored objects is believed from Kinto only: "not found" of a
# gateway that lost its server, or of another server under this URL, says nothing of them.
_KINTO_ONLY = frozenset({404, 409, 412})
_MISSING = frozenset({ERRNO_MISSING, ERRNO_MISSING_PARENT})


# Kinto's own words for a missing permission and for a missing bucket.
_FORBIDDEN = "This user cannot access this resource"


def is_hidden(error: ResponseError) -> bool:
    """Whether Kinto itself forbids it, which it also does for a bucket that does not exist."""
    return isinstance(error, Forbidden) and error.errno == ERRNO_FORBIDDEN


def _has_reason(reply: Reply) -> bool:
    """Whether a plugin forbids it, with a reason of its own ("Last editor cannot review")."""
    said = _problem(reply).get("message")
    return reply.status == 403 and isinstance(said, str) and _FORBIDDEN not in said


def error_for(reply: Reply, request: Request, doing: str) -> ResponseError:
    """The error that a refusing reply means, by the table of statuses.

    Raises:
        BadReply: It says that something is missing or in conflict, and is not of Kinto.
    """
    cls, meaning = _BY_STATUS.get(reply.status, (ServerError, "the server failed"))
    if 300 <= reply.status < 400:
        cls, meaning = Unsupported, "the server redirects, which is not followed; correct the URL"
    problem = _problem(reply)
    errno = _errno_of(problem)
    # The answer to a HEAD has no body that could say it.
    if reply.body or request.method != "HEAD":
        if errno is None and reply.status in _KINTO_ONLY:
            raise BadReply(reply.complaint())
        if reply.status == 404 and errno not in _MISSING:
            cls, meaning = Unsupported, "the server does not know this path"
    told = problem.get("message") or problem.get("error")
    said = reply.mask(str(told)) if told else _silence(reply, request)
    details = problem.get("details")
    error = cls(
        f"cannot {doing}: {meaning}. The server said {reply.status}: {said.rstrip('.')}.",
        status=reply.status,
        errno=errno,
        details=_shown(details, reply.mask),
        request=request,
    )
    error.lost = reply.lost or reply.is_lost
    return error


def _silence(reply: Reply, request: Request) -> str:
    """What to say of a refusal that says nothing itself."""
    if request.method != "HEAD" or reply.body:
        return reply.complaint()
    try:
        return HTTPStatus(reply.status).phrase
    except ValueError:
        return "nothing else; the answer to a HEAD has no body"


def _errno_of(problem: Mapping[str, Any]) -> int | None:
    errno = problem.get("errno")
    return errno if type(errno) is int else None


def _shown(details: object, mask: Mask) -> dict[str, Any]:
    """What the server tells in detail, without credentials, as an object."""
    if isinstance(details, list):
        return {"errors": mask.inside(details)}
    if not isinstance(details, dict):
        return {}
    # The stored object is data, which nobody may change.
    return {
        name: value if name == "existing" else mask.inside(value) for name, value in details.items()
    }


def _problem(reply: Reply) -> dict[str, Any]:
    try:
        return reply.json
    except BadReply:
        return {}

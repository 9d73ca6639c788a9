"""What a refusing answer means: the error for each status, in words that say what to do."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from kinto_orm.errors import (
    BadReply,
    Conflict,
    Forbidden,
    InvalidData,
    NotFound,
    ResponseError,
    ServerError,
    Unauthorized,
    Unsupported,
)
from kinto_orm.wire.masking import Mask
from kinto_orm.wire.messages import Reply, Request

# facts: https://docs.kinto-storage.org/en/stable/api/1.x/errors.html
ERRNO_MISSING = 110
ERRNO_MISSING_PARENT = 111
ERRNO_FORBIDDEN = 121
ERRNO_CONSTRAINT = 122

_PERHAPS_DONE = "An earlier answer was lost: it may have been done by that sending."

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


def has_reason(reply: Reply) -> bool:
    """Whether a plugin forbids it, with a reason of its own ("Last editor cannot review")."""
    said = _problem(reply).get("message")
    return reply.status == 403 and isinstance(said, str) and _FORBIDDEN not in said


def error_for(reply: Reply, request: Request) -> ResponseError:
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
            raise reply.bad()
        if reply.status == 404 and errno not in _MISSING:
            cls, meaning = Unsupported, "the server does not know this path"
    told = problem.get("message") or problem.get("error")
    said = reply.mask(str(told)) if told else _silence(reply, request)
    details = problem.get("details")
    error = cls(
        f"cannot {reply.doing}: {meaning}. The server said {reply.status}: {said.rstrip('.')}.",
        status=reply.status,
        errno=errno,
        details=_shown(details, reply.mask),
        request=request.shown,
    )
    error.lost = reply.lost or reply.is_lost
    if isinstance(error, Conflict):
        # Whoever runs again what may have been done would do it twice.
        error.unconfirmed = error.lost
    if reply.lost and isinstance(error, Unauthorized | Forbidden):
        error.args = (f"{error} {_PERHAPS_DONE}",)
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

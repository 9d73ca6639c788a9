"""The protocol of kvp.io: requests, what its answers mean, and the account of an API key.

The protocol has GET, POST and DELETE on `account/`, `bucket/{path}` and `templates/{name}`, and
little else: no collections, no permissions, no preconditions. It answers 200 with an empty body
for what is not there, sends strings bare, and says 404 to an unknown API key. Below these, the
same things mean the same as on Kinto.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Literal
from urllib.parse import quote

from pydantic import JsonValue

from kinto_orm import errors
from kinto_orm.errors import ResponseError, TemplateError, TransportError, Unauthorized, again
from kinto_orm.wire.flows import Flow
from kinto_orm.wire.jsonvalues import decode, is_storable
from kinto_orm.wire.messages import Reply, Request, query_string
from kinto_orm.wire.refusals import error_for
from kinto_orm.wire.scope import Scope

Endpoint = Literal["account", "bucket", "templates"]

_TEMPLATE_ERRORS: Final[Mapping[str, type[TemplateError]]] = {
    each.__name__: each
    for each in (
        errors.TemplateError,
        errors.TemplateSyntaxError,
        errors.UndefinedVariable,
        errors.RenderLimit,
        errors.RenderBusy,
    )
}


def request(
    method: Literal["GET", "POST", "DELETE"],
    endpoint: Endpoint,
    path_segments: Sequence[str],
    *,
    params: Mapping[str, str] | None = None,
    body: bytes | None = None,
) -> Request:
    """Make a request of kvp.io's protocol.

    Args:
        method: In capitals.
        endpoint: What it is about.
        path_segments: The way below the endpoint, quoted here; empty for the endpoint itself.
        params: The query.
        body: JSON, as `protocol.encode` writes it; None for none. A GET may have one.
    """
    path = "/".join(quote(segment, safe="") for segment in path_segments)
    query = query_string((params or {}).items())
    return Request(method, f"/{endpoint}/{path}", query, body, alone=True)


def account(scope: Scope) -> Flow[dict[str, JsonValue]]:
    """Fetch `{id, email, reads, size}` of the API key's account (`GET account/`).

    Raises:
        Unauthorized: The server knows no account of this API key.
    """
    reply = yield from ask_kvp(scope, request("GET", "account", ()), "read the account")
    reply.require(isinstance(reply.json.get("id"), str))
    return reply.json


def ask_kvp(scope: Scope, sent: Request, doing: str) -> Flow[Reply]:
    """Send a request; give an answer of the one status with which kvp.io answers.

    Raises:
        Unauthorized: The server knows no account of this API key.
        TemplateError: A template does not parse or render; the subclass says why.
        ResponseError: It refused.
    """
    try:
        reply: Reply = yield sent
    except TransportError as error:
        raise again(error, f"cannot {doing}: {error}") from error
    reply.doing = doing
    if reply.status == 404:
        raise Unauthorized(
            f"cannot {doing}: {scope.server_url} knows no account of this API key, or is no "
            'kvp.io server (it said 404); check auth=("the-api-key", "") and the URL',
            status=reply.status,
            request=sent,
        )
    if reply.status >= 300 and reply.status != 304:
        raise _refusal(error_for(reply, sent))
    reply.require(reply.status == 200)
    return reply


def _refusal(error: ResponseError) -> errors.KintoError:
    """What a refusal means, where it speaks of a template."""
    problem = _TEMPLATE_ERRORS.get(str(error.details.get("type")))
    if problem is None:
        return error
    lineno = error.details.get("lineno")
    return problem(
        str(error),
        name=str(error.details.get("name")),
        lineno=lineno if isinstance(lineno, int) else None,
    )


def done(reply: Reply) -> None:
    """Make sure that a write was done: kvp.io answers nothing then.

    Raises:
        BadReply: It answered something.
    """
    if reply.body.strip():
        raise reply.bad(f"{reply.complaint()} A kvp.io server answers nothing to a write.")


def text_of(reply: Reply) -> str:
    """The text of an answer.

    Raises:
        BadReply: It is none.
    """
    try:
        return reply.body.decode()
    except UnicodeDecodeError:
        raise reply.bad() from None


def names_in(reply: Reply) -> list[str]:
    """The names that an answer lists.

    Raises:
        BadReply: It lists none.
    """
    try:
        found = decode(reply.body)
    except ValueError:
        found = None
    if not isinstance(found, list) or not all(map(_is_name, found)):
        raise reply.bad()
    return found


def _is_name(name: object) -> bool:
    """Whether a key or a template can have this name."""
    return isinstance(name, str) and is_storable(name)

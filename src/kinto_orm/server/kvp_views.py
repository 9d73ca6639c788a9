"""The endpoints of kvp.io's REST API."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Mapping
from typing import Final, Literal, NoReturn, cast

from kinto.core.errors import ERRORS, http_error
from pydantic import JsonValue
from pyramid.httpexceptions import (
    HTTPBadRequest,
    HTTPMethodNotAllowed,
    HTTPNotFound,
    HTTPTooManyRequests,
)
from pyramid.request import Request
from pyramid.response import Response
from pyramid.settings import asbool

from kinto_orm.errors import KeyNotFound, PathError, RenderBusy, TemplateError
from kinto_orm.kv import keypath
from kinto_orm.rendering import Document, Limits, Needs, Renderer
from kinto_orm.server import kvp_bodies, kvp_reads
from kinto_orm.server.kvp_store import KV, TEMPLATES, Store

View = Callable[[Request], Response]
Handler = Callable[[Request, Store, str], Response]
Handlers = Mapping[str, Handler]

_RETRY_AFTER: Final = "5"
# Clients wait for 30 seconds, mostly: they are to hear of it before.
PATIENCE: Final = 20.0
"""Seconds that a render waits for its turn, where the settings say nothing else."""


def _endpoint(view: View) -> View:
    """Let known accounts in, and say what is wrong in Kinto's error format."""

    @functools.wraps(view)
    def guarded(request: Request) -> Response:
        if request.kvp_account is None:
            return _missing("There is no such account.")
        if getattr(request, "parent", None) is not None:
            _refuse("kvp.io's endpoints cannot be part of a batch: send the request alone")
        try:
            return view(request)
        except PathError as error:
            _refuse(str(error))
        except RenderBusy as error:
            raise _busy(error) from error
        except TemplateError as error:
            _refuse(str(error), _details(error))

    return guarded


@_endpoint
def account(request: Request) -> Response:
    """Answer `GET account/` with `{id, email, reads, size}`.

    `id` is the caller's principal, never the API key. `email` is the name of an account of
    Kinto's accounts plugin when that is an e-mail address, else null. `reads` counts the GETs of
    `bucket` and `templates` that were answered with 200, this API's only. `size` is the number of
    bytes of all values and template sources as compact JSON.
    """
    if request.matchdict["path"] not in ("", "/"):
        return _missing("There is nothing below account/.")
    if request.method != "GET":
        raise _not_allowed(request, ["GET"])
    principal: str = request.kvp_account
    policy, _, name = principal.partition(":")
    return _json(
        {
            "id": principal,
            "email": name if policy == "account" and "@" in name else None,
            "reads": kvp_reads.reads(request.registry, principal),
            "size": _store(request).size(),
        }
    )


@_endpoint
def bucket(request: Request) -> Response:
    """Answer `bucket/` with the list of keys, and read, store and delete `bucket/{path}`."""
    return _dispatch(request, KV, {"GET": _get_value, "POST": _set_value, "DELETE": _delete_value})


@_endpoint
def templates(request: Request) -> Response:
    """Answer `templates/` with the list of names; render, store and delete `templates/{name}`."""
    handlers: Handlers = {"GET": _get_template, "POST": _set_template, "DELETE": _delete_template}
    return _dispatch(request, TEMPLATES, handlers)


def _dispatch(request: Request, collection: str, handlers: Handlers) -> Response:
    path = request.matchdict["path"].removeprefix("/")
    allowed = list(handlers) if path else ["GET"]
    if request.method not in allowed:
        raise _not_allowed(request, allowed)
    store = _store(request)
    handler = handlers[request.method] if path else _list
    response = handler(request, store, path or collection)
    if request.method == "GET":
        kvp_reads.count_when_done(request, request.kvp_account)
    return response


def _list(_: Request, store: Store, collection: str) -> Response:
    return _json(cast("list[JsonValue]", store.names(collection)))


def _get_value(_: Request, store: Store, path: str) -> Response:
    try:
        value = store.value(path)
    except KeyNotFound:
        return _text("")  # as on kvp.io: 200, the same as a stored ""
    return _text(value) if isinstance(value, str) else _json(value)


def _set_value(request: Request, store: Store, path: str) -> Response:
    store.set_value(path, _body(request))
    return _text("")


def _delete_value(_: Request, store: Store, path: str) -> Response:
    store.delete_value(path)
    return _text("")


def _get_template(request: Request, store: Store, name: str) -> Response:
    record = store.template(name)
    if record is None:
        return _text("")
    if asbool(request.GET.get("raw", "false")):
        return _text(str(record["source"]))
    overrides = _body(request)
    if overrides is not None and not isinstance(overrides, dict):
        _refuse("the data that overrides the bucket's must be an object keyed by root key")
    return _text(_render(request, store, name, overrides or {}))


def _set_template(request: Request, store: Store, name: str) -> Response:
    source = _body(request)
    if not isinstance(source, str):
        _refuse("a template must be a JSON string")
    renderer = Renderer(lambda _: Document(name, source, None), _limits(request))
    renderer.check(name, isolation="process")
    store.set_template(name, source)
    return _text("")


def _delete_template(_: Request, store: Store, name: str) -> Response:
    store.delete_template(name)
    return _text("")


def _render(request: Request, store: Store, name: str, overrides: dict[str, JsonValue]) -> str:
    """Render a template in a process of its own, from no more values than it names."""

    def load(wanted: str) -> Document | None:
        record = store.template(wanted) if _is_possible(wanted) else None
        if record is None:
            return None
        return Document(wanted, str(record["source"]), str(record["last_modified"]))

    def values(needs: Needs) -> dict[str, JsonValue]:
        wanted = [key for key in needs.names if key not in overrides and _is_possible(key)]
        return {**store.values(None if needs.everything else wanted), **overrides}

    undefined = _undefined(request)
    renderer = Renderer(load, _limits(request))
    return renderer.render(name, values, undefined=undefined, isolation="process")


def _limits(request: Request) -> Limits:
    return Limits(queue=float(request.registry.settings.get("kvp_patience", PATIENCE)))


def _is_possible(name: str) -> bool:
    """Tell whether a key or a template can have this name."""
    try:
        return bool(keypath.record_id(name))
    except PathError:
        return False


def _undefined(request: Request) -> Literal["strict", "lenient"]:
    """Give the mode that this request asks for, else the server's."""
    default = request.registry.settings.get("kvp_undefined", "strict")
    mode = request.GET.get("undefined", default)
    if mode not in ("strict", "lenient"):
        _refuse("undefined must be strict or lenient")
    return cast('Literal["strict", "lenient"]', mode)


def _body(request: Request) -> JsonValue:
    """Parse the body; the bindings send none for None."""
    content = _content(request)
    if not content:
        return None
    try:
        return kvp_bodies.parse(content)
    except ValueError as error:
        _refuse(str(error))


def _content(request: Request) -> bytes:
    if not request.is_body_seekable:
        # WebOb copies the body, a large one into a file, and leaves that to the collector.
        request.add_finished_callback(lambda done: done.body_file_raw.close())
    content: bytes = request.body
    return content


def _store(request: Request) -> Store:
    return Store(request, request.registry.settings.get("kvp_bucket"))


def _text(text: str) -> Response:
    return Response(text.encode(), content_type="text/plain", charset="utf-8")


def _json(value: JsonValue) -> Response:
    return Response(json.dumps(value).encode(), content_type="application/json")


def _refuse(message: str, details: dict[str, str | int | None] | None = None) -> NoReturn:
    raise http_error(
        HTTPBadRequest(), errno=ERRORS.INVALID_PARAMETERS, message=message, details=details
    )


def _not_allowed(request: Request, allowed: list[str]) -> HTTPMethodNotAllowed:
    methods = ", ".join(allowed)
    refusal = http_error(
        HTTPMethodNotAllowed(),
        errno=ERRORS.METHOD_NOT_ALLOWED,
        message=f"{request.method} is not allowed here, only {methods}.",
    )
    refusal.headers["Allow"] = methods
    return refusal


def _busy(error: RenderBusy) -> HTTPTooManyRequests:
    refusal = http_error(
        HTTPTooManyRequests(),
        errno=ERRORS.CLIENT_REACHED_CAPACITY,
        message=str(error),
        details=_details(error),
    )
    refusal.headers["Retry-After"] = _RETRY_AFTER
    return refusal


def _details(error: TemplateError) -> dict[str, str | int | None]:
    return {"type": type(error).__name__, "name": error.name, "lineno": error.lineno}


def _missing(message: str) -> Response:
    # Returned, not raised: Kinto answers a 404 that is raised with a redirect to the same path
    # without its last slash.
    return http_error(HTTPNotFound(), errno=ERRORS.INVALID_RESOURCE_ID, message=message)

"""A dry run: writes are answered as Kinto would answer them, and not sent.

What decides the answer is looked at with `GET`, and what was pretended before counts as there.
See https://docs.kinto-storage.org/en/stable/api/1.x/ for the protocol.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit
from uuid import uuid4

from kinto_orm.errors import ConfigurationError
from kinto_orm.wire.flows import Flow
from kinto_orm.wire.messages import Reply, Request, is_object
from kinto_orm.wire.pretence import (
    ERRNO_INVALID,
    Pretence,
    Seen,
    Target,
    answer,
    chosen_ids,
    refused,
    subset,
    target_of,
    untold,
)
from kinto_orm.wire.refusals import ERRNO_MISSING
from kinto_orm.wire.serverinfo import ServerInfo, read_root

Tell = Callable[[Request, Reply], None]
"""Is told of each request that is not sent, and of the answer that is given instead."""

_READS = frozenset({"GET", "HEAD", "OPTIONS"})
# Servers and gateways that know these headers take the method from them.
_OTHER_METHOD = frozenset({"x-http-method-override", "x-http-method", "x-method-override"})
_VERSION = re.compile(r"^/v\d+(?=/)")
_MODIFIED = re.compile(r"_since|_before|_to|(.*_)?last_modified")
_HIDDEN = (401, 403, 404)
_ERRNO_READONLY = 115
_OF_OBJECTS = ("PUT", "PATCH", "DELETE")
_OF_LISTS = ("POST", "DELETE")


def may_be_sent(request: Request) -> bool:
    """Whether a dry run may send a request: whether it changes nothing on the server.

    This is the one rule. Kinto makes the personal bucket and its collections at a `GET` below
    `/buckets/default`, so that these are not sent either.
    """
    segments = unquote(request.path).split("/")
    return (
        request.method in _READS
        and segments[1:3] != ["buckets", "default"]
        # Whoever sends them takes them out, and with them what is before them.
        and not {".", ".."} & set(segments)
        and _OTHER_METHOD.isdisjoint(name.lower() for name in request.headers)
    )


class ReadingTransport:
    """A transport that sends nothing but what a dry run may send.

    Args:
        transport: What sends.
    """

    def __init__(self, transport: Any) -> None:
        self._transport = transport
        self.close = transport.close
        self.timeout = transport.timeout

    @property
    def is_anonymous(self) -> bool:
        """Whether nothing on its requests says who asks."""
        return bool(self._transport.is_anonymous)

    def send(self, request: Request, until: float) -> Any:
        """Send a request; its answer, or what is awaited for it.

        Raises:
            ConfigurationError: It would write.
        """
        if not may_be_sent(request):
            raise ConfigurationError(f"a dry run does not send {request!r}. Nothing was sent.")
        return self._transport.send(request, until)


def pretending(request: Request, pretence: Pretence, tell: Tell) -> Flow[Reply]:
    """Answer a request; what this yields may be sent.

    Args:
        request: Any.
        pretence: What was pretended before.
        tell: Is told of each write.

    Raises:
        Unsupported: It is a write of which nobody can tell what the server would do.
        TransportError: The server did not answer when it was looked at.
    """
    if unquote(request.path).split("/")[1:3] == ["buckets", "default"]:
        request = yield from _at_home(request, pretence, tell)
    if may_be_sent(request):
        return (yield from _reading(request, pretence))
    if request.method == "POST" and request.path == "/batch":
        return (yield from _batch(request, pretence, tell))
    reply = yield from _writing(request, pretence)
    tell(request, reply)
    return reply


# Looking


def _looked(request: Request, path: str, query: str = "") -> Request:
    doing = f"look, to {request.doing or request.method}"
    return Request("GET", path, query, doing=doing, veil=request.veil)


def _info(request: Request, pretence: Pretence) -> Flow[ServerInfo]:
    if pretence.info is None:
        pretence.info = read_root((yield _looked(request, "/")))
    return pretence.info


def _looking(request: Request, target: Target, path: str, pretence: Pretence) -> Flow[Seen]:
    """Find what is there now: what was pretended, else what the server has."""
    kept = pretence.find(target)
    if kept is not None:
        return kept
    reply: Reply = yield _looked(request, path)
    if reply.status == 200:
        reply.doing = request.doing
        found = reply.object
        return Seen(found["data"], found.get("permissions") or {})
    if reply.status not in _HIDDEN or target.parent is None:
        return Seen(refusal=None if _is_missing(reply) else reply)
    # Who may only create something there does not see whether it is there.
    if _is_missing(reply) or (yield from _parent(request, target, pretence)).data is not None:
        return Seen()
    return Seen(refusal=reply)


def _parent(request: Request, target: Target, pretence: Pretence) -> Flow[Seen]:
    """Find what an object is in; looked at once."""
    parent = target.parent
    if parent is None:
        return Seen()
    known = pretence.find(parent) or pretence.parents.get(parent.path)
    if known is None:
        known = yield from _looking(request, parent, parent.path, pretence)
        if known.data is not None:
            pretence.parents[parent.path] = known
    return known


def _is_missing(reply: Reply) -> bool:
    """Whether the object is not there, and what it is in is."""
    return reply.status == 404 and bool(reply.body) and reply.json.get("errno") == ERRNO_MISSING


# Reading


def _reading(request: Request, pretence: Pretence) -> Flow[Reply]:
    target = target_of(request.path)
    if target is None or request.method == "OPTIONS":
        passed: Reply = yield request
        return passed
    kept = pretence.find(target) if target.id or pretence.is_emptied(target.plural) else None
    if kept is not None and (target.id or kept.refusal is not None):
        return pretence.read(request, kept)
    if kept is None:
        reply: Reply = yield request
        if not (reply.status in _HIDDEN and pretence.has(target.parent)):
            return reply if target.id else (yield from _listing(request, target, reply, pretence))
        if target.id:
            return pretence.read(request, Seen())
    nothing = answer(200, {"data": []}, 1)
    nothing.headers["Total-Objects"] = "0"  # type: ignore[index]
    return _overlaid(request, target, nothing, pretence)


def _listing(request: Request, target: Target, reply: Reply, pretence: Pretence) -> Flow[Reply]:
    """A page of a list with what was pretended: the next one that has anything on it."""
    shown = _overlaid(request, target, reply, pretence)
    # Whoever reads a page goes on after the last object that is on it.
    while shown is not reply and not shown.objects and "Next-Page" in reply.headers:
        query = urlsplit(reply.headers["Next-Page"]).query
        reply = yield dataclasses.replace(request, query=query)
        shown = _overlaid(request, target, reply, pretence)
    return shown


def _overlaid(request: Request, target: Target, reply: Reply, pretence: Pretence) -> Reply:
    """A page of a list, with what was pretended of the objects that are on it.

    Those that were made in the dry run are shown where they are asked for by id.
    """
    kept = pretence.inside(target.plural)
    names = parse_qs(request.query, keep_blank_values=True)
    if not kept or reply.status != 200 or request.method != "GET":
        return reply
    # Who asks for times follows what the server does.
    if any(map(_MODIFIED.fullmatch, names)):
        return reply
    stored = {each["id"]: each for each in reply.objects}
    asked = [id for id in chosen_ids(request.query) if id not in stored and id in kept]
    rows: list[dict[str, Any]] = []
    for id in [*stored, *asked]:
        seen = kept.get(id)
        if seen is None:
            rows.append(stored[id])
        elif seen.data is not None:
            rows.append(subset(seen.data, request.query))
    if asked and names.get("_sort") == ["id"]:
        rows.sort(key=lambda row: str(row["id"]))
    return Reply(200, reply.headers, json.dumps({"data": rows}).encode(), mask=reply.mask)


# Writing


def _writing(request: Request, pretence: Pretence) -> Flow[Reply]:
    target = target_of(request.path)
    if target is None or request.method not in (_OF_LISTS, _OF_OBJECTS)[bool(target.id)]:
        raise untold(request)
    info = yield from _info(request, pretence)
    if info.settings.get("readonly"):
        return refused(405, _ERRNO_READONLY, "The server is in read-only mode.")
    if target.id:
        return (yield from _writing_one(request, target, request.path, pretence))
    if request.method == "DELETE":
        return (yield from _deleting_all(request, target, pretence))
    id = _id_of(request)
    path = f"{request.path}/{id}"
    return (yield from _writing_one(request, target.inside(id), path, pretence))


def _writing_one(request: Request, target: Target, path: str, pretence: Pretence) -> Flow[Reply]:
    seen = yield from _looking(request, target, path, pretence)
    stamp = None
    if target.kind == "record" and "schema" in (pretence.info or ServerInfo()).capabilities:
        data = (yield from _parent(request, target, pretence)).data or {}
        stamp = data["last_modified"] if "schema" in data else None
    return pretence.write(request, target, seen, stamp)


def _id_of(request: Request) -> str:
    """The id of what a POST makes: that which it gives, or a new one."""
    body = json.loads(request.body) if request.body else {}
    data = body.get("data") if isinstance(body, dict) else None
    id = data.get("id", "") if isinstance(data, dict) else ""
    if not isinstance(id, str) or (id and target_of(f"/accounts/{id}") is None):
        raise untold(request, "this id")
    return id or str(uuid4())


def _deleting_all(request: Request, target: Target, pretence: Pretence) -> Flow[Reply]:
    """Delete all that is found, as many as Kinto would; without `_limit` with one answer."""
    query = request.query
    found: dict[Target, dict[str, Any]] = {}
    names = parse_qs(query)
    while True:
        page = Request("GET", request.path, query, headers=request.headers, veil=request.veil)
        page.doing = f"look, to {request.doing or request.method}"
        reply: Reply = yield from _reading(page, pretence)
        if reply.status != 200:
            return reply
        # Kinto lists tombstones where it is asked for times; they are not deleted once more.
        rows = [each for each in reply.objects if is_object(each) and not each.get("deleted")]
        found |= {target.inside(each["id"]): each for each in rows}
        following = urlsplit(reply.headers.get("Next-Page", "")).query
        if not following or "_limit" in names or "_token" in names:
            break
        query = following
    deleted = pretence.delete_each(found)
    newest = max((each["last_modified"] for each in deleted), default=None)
    done = answer(200, {"data": deleted}, newest)
    if following:
        done.headers["Next-Page"] = reply.headers["Next-Page"]  # type: ignore[index]
    return done


# The personal bucket, and batches


def _at_home(request: Request, pretence: Pretence, tell: Tell) -> Flow[Request]:
    """The same request for the bucket's real id, after what the server makes by itself was made."""
    info = yield from _info(request, pretence)
    own = (info.user or {}).get("bucket")
    if not isinstance(own, str):
        raise untold(request, "a personal bucket of nobody")
    path = f"/buckets/{own}" + "".join(f"/{each}" for each in request.path.split("/")[3:])
    parts = unquote(path).rstrip("/").split("/")
    needed = [path_ for path_ in ("/".join(parts[:3]), "/".join(parts[:5])) if path_]
    if parts[3:4] != ["collections"] or len(parts) < 5:
        needed = needed[:1]
    for each in needed:
        target = target_of(each)
        is_made = request.method == "PUT" and each == unquote(path)
        if target is None or is_made:
            continue
        seen = yield from _looking(request, target, each, pretence)
        if seen.data is None:
            pretence.make(target)
            if may_be_sent(dataclasses.replace(request, path=path)):
                tell(request, answer(200, None))
    return dataclasses.replace(request, path=path)


def _batch(request: Request, pretence: Pretence, tell: Tell) -> Flow[Reply]:
    """Answer a batch, request by request. Each of them is told, and not the batch."""
    body = json.loads(request.body or b"{}")
    items = body.get("requests") if isinstance(body, dict) else None
    most = (yield from _info(request, pretence)).settings.get("batch_max_requests")
    if not isinstance(items, list) or not all(isinstance(each, dict) for each in items):
        return refused(400, ERRNO_INVALID, "requests in body: a list of requests is needed")
    if isinstance(most, int) and len(items) > most > 0:
        return refused(400, ERRNO_INVALID, f"Number of requests is limited to {most}")
    defaults = body.get("defaults") or {}
    parts = [_part(request, defaults | each) for each in items]
    for each, carried in zip(parts, request.carried, strict=False):
        each.doing, each.veil = carried.doing, carried.veil
    responses = []
    for each in parts:
        reply = yield from pretending(each, pretence, tell)
        content = reply.json if reply.body else {}
        headers = dict(reply.headers.items())
        responses.append(
            {"status": reply.status, "path": each.path, "headers": headers, "body": content}
        )
    return answer(200, {"responses": responses})


def _part(request: Request, item: dict[str, Any]) -> Request:
    """One request of a batch."""
    method, target = item.get("method", "GET"), item.get("path", "")
    if not isinstance(method, str) or not isinstance(target, str):
        raise untold(request)
    path, _, query = _VERSION.sub("", target, count=1).partition("?")
    if "/batch" in path:
        raise untold(request, "a batch in a batch")
    headers = {**request.headers, **(item.get("headers") or {})}
    body = json.dumps(item["body"]).encode() if "body" in item else None
    return Request(method.upper(), path, query, body, headers, doing=request.doing)

"""What becomes of one request: what the proxy does with it, and what it answers."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from kinto_orm import Reply
from kinto_orm.testing import faults
from trust.proxy import Answer, Exchange, Received

Play = Callable[[Exchange], None]

JSON = {"Content-Type": "application/json"}
HTML = {"Content-Type": "text/html"}
SOMEBODY = "somebody-else"
PAGE = faults.page(200).body


# What the server does


def done(then: Callable[[Exchange, Answer], None]) -> Play:
    """Let the real server do the work; something happens to its answer."""

    def play(exchange: Exchange) -> None:
        then(exchange, exchange.forward())

    return play


def says(status: int, body: object = None, headers: Mapping[str, str] | None = None) -> Play:
    """Answer without doing anything: a JSON value, or bytes as they are."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    named = dict(headers if headers is not None else JSON)
    return lambda exchange: exchange.answer(status, content, named)


def replied(reply: Reply) -> Play:
    """Answer with a Reply, without doing anything."""
    return lambda exchange: exchange.answer(reply.status, reply.body, dict(reply.headers))


def kinto(status: int, errno: int, message: str, details: object = None, **headers: str) -> Play:
    """Refuse in Kinto's own words."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return replied(faults.refusal(status, errno, message, details, named))


def page(status: int) -> Play:
    """Answer with a page of HTML, as gateways do."""
    return replied(faults.page(status))


def echo(status: int) -> Play:
    """Answer with a page that shows the request with all its headers, as some gateways do."""

    def play(exchange: Exchange) -> None:
        exchange.answer(status, b"<pre>" + exchange.request.head + b"</pre>", HTML)

    return play


def close(exchange: Exchange) -> None:
    exchange.close()


def reset(exchange: Exchange) -> None:
    exchange.reset()


def hang(exchange: Exchange) -> None:
    exchange.hold()
    exchange.close()


def interrupt(exchange: Exchange) -> None:
    """Nobody waits for the answer any more, and none comes."""
    exchange.interrupt()
    hang(exchange)


def repeat(exchange: Exchange) -> None:
    """Give the answer to an earlier request once more."""
    answer = exchange.old_answer()
    exchange.answer(answer.status, answer.body, answer.headers)


def drip(exchange: Exchange) -> None:
    """Send a byte now and then, so that no single wait is long."""
    exchange.write(exchange.head(200, 100_000, JSON) + b'{"data": "')
    _drop_by_drop(exchange, b"x" * 120)


def drip_head(exchange: Exchange) -> None:
    """The same with the headers."""
    exchange.write(b"HTTP/1.1 200 OK\r\n")
    _drop_by_drop(exchange, b"X-Padding: 1\r\n" * 9)


def _drop_by_drop(exchange: Exchange, data: bytes) -> None:
    for byte in data:
        exchange.write(bytes([byte]))
        if exchange.hold(0.05):
            break
    exchange.close()


def half(exchange: Exchange, answer: Answer) -> None:
    exchange.answer(
        answer.status,
        answer.body[: len(answer.body) // 2],
        answer.headers,
        length=len(answer.body) + 1,
    )
    exchange.close()


def truncated(exchange: Exchange, answer: Answer) -> None:
    """A whole answer of half a JSON text."""
    exchange.answer(answer.status, answer.body[: len(answer.body) // 2] or b"{", answer.headers)


def lost(after: Play) -> Play:
    """Do it, and lose the answer in the way of another fault."""
    return done(lambda exchange, _: after(exchange))


def odd_permissions(exchange: Exchange, answer: Answer) -> None:
    body = {**json.loads(answer.body or b"{}"), "permissions": [1]}
    exchange.answer(answer.status, json.dumps(body).encode(), answer.headers)


def with_headers(**headers: str) -> Play:
    """The true answer with more headers."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return done(
        lambda exchange, answer: exchange.answer(
            answer.status, answer.body, {**answer.headers, **named}
        )
    )


# Answers about somebody else


def somebody_else(exchange: Exchange) -> None:
    """What the server would say of another object."""
    request = exchange.request
    given = request.json if isinstance(request.json, dict) else {}
    data = given.get("data")
    body = {"data": _somebody(data if isinstance(data, dict) else {}, request.method)}
    exchange.answer(200, json.dumps(body).encode(), {**JSON, "ETag": '"1700000000001"'})


def _somebody(data: dict[str, Any], method: str) -> dict[str, Any]:
    found = {**data, "id": SOMEBODY, "last_modified": 1_700_000_000_001}
    if method == "DELETE":
        return {"id": SOMEBODY, "last_modified": 1_700_000_000_001, "deleted": True}
    return {"title": "theirs", "key": SOMEBODY, "value": 0, "name": SOMEBODY, "source": "", **found}


def refused_about_somebody(exchange: Exchange) -> None:
    """A lost precondition that shows another object."""
    given = exchange.request.json
    data = given.get("data") if isinstance(given, dict) else None
    existing = _somebody(data if isinstance(data, dict) else {}, "GET")
    kinto(412, 114, "Resource was modified meanwhile", {"existing": existing})(exchange)


# Batches


def items(change: Callable[[dict[str, Any]], Any]) -> Play:
    """Do a batch, and change each item of the true answer."""

    def play(exchange: Exchange, answer: Answer) -> None:
        items = [change(each) for each in json.loads(answer.body)["responses"]]
        exchange.answer(200, json.dumps({"responses": items}).encode(), JSON)

    return done(play)


def undone(change: Callable[[dict[str, Any]], Any]) -> Play:
    """Answer a batch without doing it, each item changed from a good one."""

    def play(exchange: Exchange) -> None:
        items = [change(_item(each)) for each in exchange.request.json["requests"]]
        exchange.answer(200, json.dumps({"responses": items}).encode(), JSON)

    return play


def _item(asked: Mapping[str, Any]) -> dict[str, Any]:
    """A good answer to one request of a batch."""
    body = asked.get("body")
    data = body.get("data") if isinstance(body, dict) else None
    method = asked.get("method", "GET")
    stored = _somebody(data if isinstance(data, dict) else {}, method)
    stored["id"] = str(asked["path"]).rsplit("/", 1)[-1]
    return {
        "status": 201 if method == "PUT" else 200,
        "path": asked["path"],
        "body": {"data": stored},
        "headers": {"ETag": '"1700000000001"'},
    }


def without(name: str) -> Play:
    return items(lambda item: {key: value for key, value in item.items() if key != name})


def having(name: str, value: object) -> Play:
    return items(lambda item: {**item, name: value})


def responses(value: object) -> Play:
    return says(200, {"responses": value})


def resized(resize: Callable[[list[Any]], list[Any]]) -> Play:
    """Do a batch, and answer with too few items or too many."""

    def play(exchange: Exchange, answer: Answer) -> None:
        items = resize(json.loads(answer.body)["responses"])
        exchange.answer(200, json.dumps({"responses": items}).encode(), JSON)

    return done(play)


def batch_somebody(item: dict[str, Any]) -> dict[str, Any]:
    data = {**item["body"]["data"], "id": SOMEBODY}
    return {**item, "body": {"data": data}, "path": f"{item['path']}x"}


# The root page


def root(**changes: object) -> Play:
    """The true root page with some members changed; None in place of a function removes."""

    def change(exchange: Exchange, answer: Answer) -> None:
        page = {**json.loads(answer.body), **changes}
        exchange.answer(200, json.dumps(page).encode(), JSON)

    return done(change)


def elsewhere(exchange: Exchange, answer: Answer) -> None:
    """The true answer; the next page is said to be on another server, which has no such name."""
    headers = dict(answer.headers)
    if "Next-Page" in headers:
        headers["Next-Page"] = "http://x.test/" + headers["Next-Page"].split("/", 3)[-1]
    exchange.answer(answer.status, answer.body, headers)


def list_of(*items: object, **headers: str) -> Play:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return says(200, {"data": list(items)}, JSON | named)


def is_batch(request: Received) -> bool:
    return request.is_batch


def is_root(request: Received) -> bool:
    return request.is_root


def is_list(request: Received) -> bool:
    return request.is_list


def is_single(request: Received) -> bool:
    return request.is_single and not request.is_batch


def _is_read(request: Received) -> bool:
    return request.method == "GET" and "If-None-Match" not in request.headers


def is_conditional_read(request: Received) -> bool:
    return request.method == "GET" and "If-None-Match" in request.headers


def is_head(request: Received) -> bool:
    return request.method == "HEAD"


def is_old_read(request: Received) -> bool:
    return request.is_known and not is_write(request)


def is_old_write(request: Received) -> bool:
    return request.is_known and is_write(request)


def is_write(request: Received) -> bool:
    return request.method not in ("GET", "HEAD")

"""The deadline: the clock of the whole call, whatever the server does and whatever loops inside."""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest
from requests.auth import HTTPDigestAuth

from faults import Answer, Exchange, FaultyServer, says
from kinto_orm import Record, Retry, ServerError, Session, Timeout

RECORD = {"id": "x", "last_modified": 5}


class Todo(Record, collection="todos", bucket="b"):
    number: int = 0


# Pages that are fetched ahead


def test_leaving_a_loop_waits_for_no_page() -> None:
    """The page ahead may hang: who needs it no more goes on."""
    left = threading.Event()
    noticed: list[bool] = []

    def hangs(exchange: Exchange) -> None:
        noticed.append(left.wait(10))
        says(200, {"data": []})(exchange)

    first = says(200, {"data": [RECORD]}, Next_Page="http://x/v1?_token=a")
    with FaultyServer(first, hangs) as server, Session(server.url, retry=None) as session:
        for _ in session.find(Todo).page_size(1):
            break
        left.set()
        session.close()
    assert noticed in ([], [True])


def test_a_page_ahead_that_fails_fails_where_it_is_needed() -> None:
    """What came before it is given first."""
    first: Any = says(200, {"data": [RECORD]}, Next_Page="http://x/v1?_token=a")
    with FaultyServer(first, says(500, {})) as server, Session(server.url, retry=None) as session:
        todos = iter(session.find(Todo).page_size(1))
        assert next(todos).id == "x"
        with pytest.raises(ServerError, match="cannot find Todo"):
            next(todos)


# Answers that come in drops

# A deadline that is over long before they are: what is not bounded ends well, and the test fails.
SOON = Retry(deadline=0.4)
BODY = b'{"data": {"id": "x", "last_modified": 5}, "permissions": {}}'
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


def in_drops(content: bytes, *, at_once: int = 0) -> Answer:
    """Send an answer byte by byte, each well within the timeout; the beginning at once."""

    def answer(exchange: Exchange) -> None:
        exchange.wfile.write(content[:at_once])
        for byte in content[at_once:]:
            if exchange.server.closing.wait(0.05):
                return
            exchange.wfile.write(bytes([byte]))

    return answer


def chunked(content: bytes) -> bytes:
    """The body in chunks of one byte each."""
    return b"".join(b"1\r\n" + bytes([byte]) + b"\r\n" for byte in content) + b"0\r\n\r\n"


SIZED = HEAD + f"Content-Length: {len(BODY)}\r\n\r\n".encode()
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
DRIPPING = {
    "status and headers": in_drops(SIZED + BODY),
    "headers": in_drops(SIZED + BODY, at_once=20),
    "body": in_drops(SIZED + BODY, at_once=len(SIZED)),
    "chunks": in_drops(CHUNKED + chunked(BODY), at_once=len(CHUNKED)),
    "an endless body": in_drops(HEAD + b"\r\n" + BODY + b" " * 500, at_once=len(HEAD)),
    "interim answers": in_drops(b"HTTP/1.1 100 Continue\r\n\r\n" * 500),
    "error page": in_drops(b"HTTP/1.1 404 X\r\nContent-Length: 400\r\n\r\n" + b"x" * 400),
}


@pytest.mark.parametrize("drops", DRIPPING)
@pytest.mark.parametrize("timeout", [(1, 5), None])
def test_a_dripping_answer_ends_at_the_deadline(drops: str, timeout: Any) -> None:
    """Though each piece comes within the timeout for reading."""
    with (
        FaultyServer(DRIPPING[drops]) as server,
        Session(server.url, timeout=timeout, retry=SOON) as session,
        pytest.raises(Timeout, match="get Todo 'x'"),
    ):
        session.get(Todo, "x")


def test_a_dripping_answer_to_an_authentication_that_answers_challenges() -> None:
    """Requests' own way of sending, which it takes then, has the same clock."""
    challenge = says(401, {}, WWW_Authenticate='Digest realm="k", nonce="n", qop="auth"')
    with (
        FaultyServer(challenge, DRIPPING["body"]) as server,
        Session(server.url, auth=HTTPDigestAuth("a", "b"), retry=SOON) as session,
        pytest.raises(Timeout),
    ):
        session.get(Todo, "x")


def test_a_dripping_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """The way through a proxy, too."""
    with FaultyServer(DRIPPING["body"]) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url.removesuffix("/v1"))
        with Session("http://kinto.invalid/v1", retry=SOON) as session, pytest.raises(Timeout):
            session.get(Todo, "x")
        assert proxy.received[0].target.startswith("http://kinto.invalid/v1")


def test_an_answer_in_pieces_is_whole() -> None:
    """Where the deadline allows it; the connection is used for the next one as it was before."""
    whole = says(200, json.loads(BODY))
    with (
        FaultyServer(in_drops(SIZED + BODY, at_once=len(SIZED) + 40), whole, whole) as server,
        Session(server.url, timeout=(1, 2), retry=Retry(deadline=8)) as session,
    ):
        assert [session.get(Todo, "x").id for _ in range(3)] == ["x"] * 3


def test_a_large_answer_and_a_large_request() -> None:
    """Bytes that come in many pieces and in a hurry are neither lost nor late."""
    text = "x" * 3_000_000
    large = says(200, {"data": {**RECORD, "text": text}})
    with FaultyServer(large) as server, Session(server.url, retry=None, bucket="b") as session:
        found = session.scoped(collection="c")
        assert Record.get("x", session=found).text == text  # type: ignore[attr-defined]
        Record(id="x", text=text).save(session=found)
        assert len(server.received[1].body) > len(text)

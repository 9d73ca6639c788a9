"""Seeing what is sent: events and the log; and requests of one's own."""

from __future__ import annotations

import logging
import traceback
from typing import Any

import pytest

from both import AnySession, Place, do, either, entered
from faults import FaultyServer, hangs_up, kinto_says, says
from kinto_orm import (
    BadReply,
    ConfigurationError,
    Conflict,
    InvalidData,
    NotFound,
    Record,
    RequestEvent,
    Retry,
    Session,
)

session = either

SECRET = "s3cret"
FAST = Retry(3, backoff_factor=0)


class Todo(Record, collection="todos"):
    title: str = ""


@pytest.fixture
def events() -> list[RequestEvent]:
    return []


# Events


async def test_each_sending_is_told(place: Place, session: AnySession, events: Any) -> None:
    """What, what for, how it ended, and how much went over the line; on both sessions."""
    async with entered(place.session(bucket=session.bucket, on_request=events.append)) as watched:
        todo = await do(Todo(id="x", title="a").save, session=watched)
        await do(todo.save)
        await do(Todo.get_or_none, "y", session=watched)
    told = [(e.method, e.path.rsplit("/", 1)[-1], e.status, e.attempt) for e in events]
    assert told == [("PUT", "x", 201, 1), ("GET", "y", 404, 1)]
    assert [e.doing.partition(" in ")[0] for e in events] == ["save Todo 'x'", "get Todo 'y'"]
    assert all(e.seconds > 0 and e.bytes_received > 0 and e.error is None for e in events)
    assert events[0].bytes_sent > 0 == events[1].bytes_sent


async def test_a_batch_is_one_sending(place: Place, session: AnySession, events: Any) -> None:
    """It says how many it carries."""
    watched = place.session(bucket=session.bucket, on_request=events.append)
    async with entered(watched), entered(watched.batch()) as batch:
        batch.save(Todo(id="a"), Todo(id="b"))
    assert [e.doing for e in events if e.method == "POST"] == ["send a batch of 2"]


def test_each_attempt_is_told(events: list[RequestEvent]) -> None:
    """Those without an answer say why."""
    found = says(200, {"data": {"id": "x", "last_modified": 1}})
    with (
        FaultyServer(kinto_says(503, 201), hangs_up, found) as server,
        Session(server.url, bucket="b", retry=FAST, on_request=events.append),
    ):
        Todo.get("x")
    assert [(e.attempt, e.status) for e in events] == [(1, 503), (2, None), (3, 200)]
    assert type(events[1].error).__name__ in str(events[1])
    assert "attempt 2" in str(events[1])


def test_a_function_that_fails_takes_no_answer_away(caplog: pytest.LogCaptureFixture) -> None:
    """The write was done, and is believed; the failure is in the log."""

    def broken(event: RequestEvent) -> None:
        raise RuntimeError("no disk left")

    with Session("memory://", bucket="b", on_request=broken) as session:
        session.sync_schema(Todo)
        assert Todo(title="a").save().last_modified is not None
    assert "on_request failed" in caplog.text
    assert "no disk left" in caplog.text


def test_what_is_no_function_is_refused() -> None:
    """At once, and not with the first request."""
    with pytest.raises(ConfigurationError, match="on_request"):
        Session("memory://", on_request="print")  # type: ignore[arg-type]


def test_nothing_that_is_told_is_secret(
    events: list[RequestEvent], caplog: pytest.LogCaptureFixture
) -> None:
    """Neither events nor the log have credentials or bodies."""
    caplog.set_level(logging.DEBUG, "kinto_orm")
    data = {"id": "x", "last_modified": 1, "title": "of no concern"}
    with (
        FaultyServer(says(201, {"data": data})) as server,
        Session(server.url, auth=f"bob:{SECRET}", bucket="b", on_request=events.append),
    ):
        Todo(id="x", title="of no concern").save(force=True)
    shown = caplog.text + "".join(map(repr, events)) + "".join(map(str, events))
    assert "/records/x" in shown
    for hidden in (SECRET, "Ym9i", "of no concern"):
        assert hidden not in shown


# The log


def test_requests_are_in_the_log_at_debug(caplog: pytest.LogCaptureFixture) -> None:
    """One line each."""
    caplog.set_level(logging.DEBUG, "kinto_orm")
    with Session("memory://", bucket="b") as session:
        session.sync_schema(Todo)
        caplog.clear()
        Todo(id="x").save()
    (line,) = caplog.messages
    assert line.startswith("PUT /buckets/b/collections/todos/records/x to save Todo 'x': 201 in ")


def test_normal_work_is_quiet(caplog: pytest.LogCaptureFixture) -> None:
    """Nothing at INFO or above, unless something is in the way."""
    caplog.set_level(logging.INFO, "kinto_orm")
    with Session("memory://", bucket="b") as session:
        session.sync_schema(Todo)
        todo = Todo(id="x").save()
        todo.title = "b"
        todo.save()
        assert [each.id for each in Todo.find()] == ["x"]
    assert caplog.messages == []


def test_attempts_and_conflicts_are_in_the_log_at_info(caplog: pytest.LogCaptureFixture) -> None:
    """What was in the way, and what is done about it."""
    caplog.set_level(logging.INFO, "kinto_orm")
    with (
        FaultyServer(kinto_says(503, 201), kinto_says(412, 114)) as server,
        Session(server.url, bucket="b", retry=FAST),
        pytest.raises(Conflict),
    ):
        Todo(id="x").save()
    first, second, *_ = caplog.messages
    assert "PUT /buckets/b/collections/todos/records/x: attempt 1 failed (503), again in" in first
    assert "save Todo 'x'" in second
    assert "somebody else was first (412)" in second


# Requests of one's own


async def test_a_request_of_ones_own(session: AnySession) -> None:
    """With the session's credentials, below its URL; the answer as it came."""
    await do(Todo(id="x", title="ä b").save)
    path = f"/buckets/{session.bucket}/collections/todos/records"
    reply = await do(session.request, "get", path, query={"title": "ä b", "_limit": 1})
    assert (reply.status, [each["id"] for each in reply.json["data"]]) == (200, ["x"])
    assert "ETag" in reply.headers
    made = await do(session.request, "POST", path, json={"data": {"title": "new"}})
    assert (made.status, made.json["data"]["title"]) == (201, "new")


async def test_its_refusals_are_errors(session: AnySession) -> None:
    """As those of all else."""
    with pytest.raises(NotFound, match="cannot send <GET /nowhere>"):
        await do(session.request, "GET", "/nowhere")
    path = f"/buckets/{session.bucket}"
    with pytest.raises(Conflict):
        await do(session.request, "PUT", path, json={}, headers={"If-None-Match": "*"})


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "https://elsewhere.example/v1"),
        ("GET", "buckets"),
        ("GET", "/a b"),
        ("GET", "/a?b=c"),
        ("GET", "/a#b"),
        ("GET", "/a\r\nX-Evil: 1"),
        ("GET", "/ä"),
        ("GET", None),
        ("LOOK", "/"),
        ("GET\r\n", "/"),
        (None, "/"),
    ],
)
def test_what_cannot_be_sent_is_refused(method: Any, path: Any) -> None:
    """Credentials go to the session's own server, and nothing is rewritten."""
    with FaultyServer(says(200, {})) as server, Session(server.url) as session:
        with pytest.raises(InvalidData):
            session.request(method, path)
        assert server.received == []


@pytest.mark.parametrize(
    "given",
    [
        {"headers": {"Authorization": f"Bearer {SECRET}\n"}},
        {"headers": {"X": "\u20ac"}},
        {"headers": {"X": "\ud800"}},
        {"headers": {"X": "a\r\nB: c"}},
        {"headers": {"X": 5}},
        {"headers": {"X": None}},
        {"headers": {5: "x"}},
        {"headers": {"": "x"}},
        {"headers": "x"},
        {"headers": {"Content-Length": "5"}},
        {"headers": {"host": "elsewhere.example"}},
        {"query": {"a": "\ud800"}},
        {"query": {"\0": "a"}},
        {"query": {5: "a"}},
        {"query": {"a": object()}},
        {"query": "a=b"},
        {"query": [("a",)]},
        {"query": 5},
    ],
)
@pytest.mark.parametrize("url", ["memory://tests", None])
def test_what_a_request_cannot_have_is_refused(url: str | None, given: Any) -> None:
    """Before anything is sent, and no value of a header is shown: it may be secret."""
    with FaultyServer(says(200, {})) as server, Session(url or server.url) as session:
        with pytest.raises((InvalidData, ConfigurationError)) as caught:
            session.request("GET", "/", **given)
        assert server.received == []
    assert SECRET not in "".join(traceback.format_exception(caught.value))


def test_credentials_that_are_no_text() -> None:
    """They are refused without being shown."""
    with pytest.raises(ConfigurationError, match="surrogate") as caught:
        Session("https://kinto.example/v1", auth=("alexis", f"{SECRET}\ud800"))
    assert SECRET not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("method", ["POST", "PATCH"])
def test_what_may_not_be_done_twice_is_sent_once(method: str) -> None:
    """The error says that it may have been done."""
    with (
        FaultyServer(hangs_up) as server,
        Session(server.url, retry=FAST) as session,
        pytest.raises(Exception, match="no answer") as error,
    ):
        session.request(method, "/x", json={})
    assert error.value.lost  # type: ignore[attr-defined]
    assert len(server.received) == 1


def test_answers_without_a_body() -> None:
    """What asks for the JSON of one is told why there is none."""
    with Session("memory://", bucket="work") as session:
        path = "/buckets/work"
        made = session.request("PUT", path)
        again = session.request("GET", path, headers={"If-None-Match": made.headers["ETag"]})
        with pytest.raises(BadReply, match=r"\(304\) has no body, since nothing changed"):
            _ = again.json
        with pytest.raises(BadReply, match="answer to a HEAD has no body: read its headers"):
            _ = session.request("HEAD", f"{path}/collections").json

"""Answers that no Kinto gives are a BadReply, without what they show."""

from __future__ import annotations

import traceback
from collections.abc import Callable

import pytest

from faults import Answer, FaultyServer, says
from kinto_orm import BadReply, Record, Session

ROOT = says(200, {"capabilities": {"permissions_endpoint": {}}, "user": {"id": "x"}})


class Todo(Record, collection="todos"):
    title: str


def get(session: Session) -> object:
    return Todo.get("x", session=session)


def find(session: Session) -> object:
    return Todo.find(session=session).all()


def save(session: Session) -> object:
    return Todo(title="x").save(session=session)


@pytest.fixture
def ask() -> Callable[..., str]:
    """Do something with a server that gives these answers; the traceback of its BadReply."""

    def ask(act: Callable[[Session], object], *answers: Answer) -> str:
        with (
            FaultyServer(*answers) as server,
            Session(server.url, auth=("alice", "s3cret"), bucket="b", retry=None) as session,
            pytest.raises(BadReply) as raised,
        ):
            act(session)
        return "".join(traceback.format_exception(raised.value))

    return ask


@pytest.mark.parametrize("act", [get, find, save])
def test_a_body_that_is_nested_too_deeply(act: Callable, ask: Callable[..., str]) -> None:
    """Python's parser gives up with a RecursionError."""
    ask(act, says(200, b"[" * 50_000))


@pytest.mark.parametrize("act", [get, find, save])
def test_a_page_that_shows_the_request(act: Callable, ask: Callable[..., str]) -> None:
    """A gateway may show the credentials; no traceback does."""
    token = "YWxpY2U6czNjcmV0"
    page = f"<html>{'-' * 100} Authorization: Basic {token}</html>".encode()
    assert token not in ask(act, says(200, page, Content_Type="text/html"))


@pytest.mark.parametrize("data", [None, {}, [None], ["x"], [{}], [{"uri": 1}]])
def test_a_list_of_permissions_of_another_shape(data: object, ask: Callable[..., str]) -> None:
    """Not a KeyError, nor Pydantic's error."""
    ask(lambda session: list(session.permissions()), ROOT, says(200, {"data": data}))


@pytest.mark.parametrize("url", ["::::", "http://x.test/", "/v1/?_limit=5"])
def test_a_next_page_that_is_none(url: str, ask: Callable[..., str]) -> None:
    """Else the same page would come again and again, or the rest would be missing."""
    ask(find, says(200, {"data": [{"id": "a", "last_modified": 1, "title": "x"}]}, Next_Page=url))


@pytest.mark.parametrize(
    "user", [{}, {"id": None}, {"id": ""}, {"id": "x", "principals": "y"}, {"id": "x", "bucket": 1}]
)
def test_an_account_of_another_shape(user: object, ask: Callable[..., str]) -> None:
    """Not an account called "None"."""
    ask(lambda session: session.account(), says(200, {"capabilities": {}, "user": user}))


TARGETS = [{}, {"data": None}, {"data": {"id": "other", "last_modified": 5}}, {"data": {"id": "x"}}]


@pytest.mark.parametrize("target", TARGETS)
def test_a_history_that_does_not_show_the_object(target: object, ask: Callable[..., str]) -> None:
    """Neither a KeyError nor somebody else's data."""
    entry = {
        "id": "e",
        "last_modified": 9,
        "date": "2026-01-01T00:00:00Z",
        "action": "update",
        "uri": "/buckets/b/collections/todos/records/x",
        "user_id": "alice",
        "resource_name": "record",
        "target": target,
    }
    ask(
        lambda session: Todo.get("x", session=session).at(5),
        says(200, {"data": {"id": "x", "last_modified": 9, "title": "new"}}),
        says(200, {"capabilities": {"history": {}}, "user": {"id": "x"}}),
        says(200, {"data": [entry]}),
    )


def test_permissions_that_never_end(ask: Callable[..., str]) -> None:
    """The same page again is no next one."""
    entry = {"uri": "/", "resource_name": "root", "permissions": []}
    ask(
        lambda session: list(session.permissions()),
        ROOT,
        says(200, {"data": [entry]}, Next_Page="http://x.test/v1/permissions?_token=1"),
    )


@pytest.mark.parametrize("total", ["", "x", "-1", "1.5", "9" * 5000])
def test_a_count_that_is_none(total: str, ask: Callable[..., str]) -> None:
    """A header that gives no number, or one that no server has."""
    ask(lambda session: Todo.find(session=session).count(), says(200, {}, Total_Objects=total))


def test_a_next_page_that_is_no_url(ask: Callable[..., str]) -> None:
    """Not Python's ValueError."""
    data = [{"id": "a", "last_modified": 1, "title": "x"}]
    ask(find, says(200, {"data": data}, Next_Page="http://["))

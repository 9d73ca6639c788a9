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

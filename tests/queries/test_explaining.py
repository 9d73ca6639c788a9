"""What a query says of the requests that it will send."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from urllib.parse import unquote

import pytest

from both import AnySession, Place, do, either, entered
from kinto_orm import Link, Record, RequestEvent, Session, any_of, col

session = either


class Person(Record, collection="people"):
    name: str


class Todo(Record, collection="todos"):
    title: str
    done: bool = False
    due: datetime | None = None
    author: Link[Person] | None = None


QUERIES = [
    lambda s: Todo.find(session=s),
    lambda s: Todo.find(Todo.done == False, session=s).order_by(Todo.title).limit(3),
    lambda s: Todo.find(col(Todo.title).exists(), session=s).page_size(7),
    lambda s: Todo.find(col(Todo.due) < datetime(2026, 1, 1), session=s).only(Todo.title),
    lambda s: Todo.find(any_of(Todo.done == True, Todo.title == "x"), session=s),
    lambda s: Todo.find(Todo.last_modified > 5, session=s),
]


@pytest.mark.parametrize("make", QUERIES)
async def test_what_it_says_is_what_is_sent(place: Place, session: AnySession, make: Any) -> None:
    """The first request of each branch, to the letter; and explaining sends nothing."""
    events: list[RequestEvent] = []
    async with entered(place.session(bucket=session.bucket, on_request=events.append)) as watched:
        query = make(watched)
        said = str(query.explain())
        assert events == []
        await do(query)
    sent = {f"GET {each.path}?{unquote(each.query)}" for each in events}
    assert sent == {line for line in said.splitlines() if line.startswith("GET ")}


def test_why() -> None:
    """What is compared here, what comes first, how it is paged, and what else is fetched."""
    with Session("memory://", bucket="work"):
        query = Todo.find(col(Todo.due) < datetime(2026, 1, 1), col(Todo.title).exists())
        said = repr(query.prefetch(Todo.author, on_invalid="skip").explain())
    assert "has_" in said
    assert "due: compared here again" in said
    assert "In pages of 1000 objects" in said
    assert "author: then one GET for each hundred distinct ids of a page." in said.splitlines()


def test_nothing_to_ask() -> None:
    """It says so."""
    with Session("memory://", bucket="work"):
        assert "Nothing is sent" in Todo.find(col(Todo.id).in_([])).explain()

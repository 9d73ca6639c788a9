"""The deadline: the clock of the whole call, whatever the server does and whatever loops inside."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from faults import Exchange, FaultyServer, says
from kinto_orm import Record, ServerError, Session

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

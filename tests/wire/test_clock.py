"""The clock of a call: one deadline for all that a call does inside."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from faults import FaultyServer, says, silent
from kinto_orm import Record, Retry, Session, Timeout
from kinto_orm.wire.clock import Until, end_within, seconds_left
from kinto_orm.wire.driving import one_call

OK = says(200, {"data": {"id": "x", "last_modified": 5}, "permissions": {}})


class Todo(Record, collection="todos", bucket="b"):
    pass


def test_an_inner_call_ends_with_the_outer_one() -> None:
    """The nearer end counts, and afterwards the outer one is back."""
    now = time.monotonic()
    with Until(now + 100):
        assert end_within(1000) == now + 100
        with Until(now + 1000):
            assert end_within(1000) == now + 100
        with Until(now + 10):
            assert end_within(1000) == now + 10
        assert end_within(1000) == now + 100
    assert seconds_left() == float("inf")


def test_another_thread_has_its_own_clock() -> None:
    """What is started for a call is a call by itself."""
    with Until(time.monotonic() + 10), ThreadPoolExecutor(1) as pool:
        assert pool.submit(seconds_left).result() == float("inf")


def test_the_requests_of_one_call_share_its_deadline() -> None:
    """When the first ones used it up, the next one is not sent, and the error says so."""
    with (
        FaultyServer(OK, silent, OK) as server,
        Session(server.url, retry=Retry(deadline=0.5), timeout=None) as session,
    ):
        with one_call(session):
            session.get(Todo, "x")
            with pytest.raises(Timeout):
                session.get(Todo, "x")
            with pytest.raises(Timeout, match=r"get Todo 'x'.*time of the call was over"):
                session.get(Todo, "x")
        assert len(server.received) == 2
        session.get(Todo, "x")

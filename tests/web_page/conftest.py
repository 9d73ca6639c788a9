"""A page over a real Kinto, and a browser that reads it."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from starlette.testclient import TestClient

from kinto_orm import Bucket, Collection, Session
from kinto_orm.server import open_memory, serve
from kinto_orm.web import app
from web_page.reader import HERE, USER, Browser

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def kinto() -> Iterator[str]:
    """A Kinto on a port."""
    with open_memory() as server, serve(server) as served:
        yield served.url


@pytest.fixture
def session(kinto: str) -> Iterator[Session]:
    """What the user of the page has: a bucket of his own with the collection `todos`."""
    bucket = f"page{next(_numbers)}"
    with Session(kinto, auth=USER, bucket=bucket, collection="todos") as session:
        Bucket(id=bucket).save()
        Collection(id="todos").save()
        yield session


@pytest.fixture
def at(session: Session) -> str:
    """The path of the collection's page."""
    return f"/buckets/{session.bucket}/collections/todos"


@pytest.fixture
def opening(kinto: str) -> Iterator[Callable[..., Browser]]:
    """Opens a browser on a page of its own; nobody is logged in."""
    with ExitStack() as stack:

        def opened(server_url: str = kinto, **options: Any) -> Browser:
            page = app(server_url, **options)
            return Browser(stack.enter_context(TestClient(page, base_url=HERE)))

        yield opened


@pytest.fixture
def browser(opening: Callable[..., Browser]) -> Browser:
    """A browser in which somebody is logged in."""
    return opening().log_in()

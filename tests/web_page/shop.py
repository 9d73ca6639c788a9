"""A real Kinto on a port, and a bucket on it, for the tests with Chromium and those without."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from kinto_orm import Bucket, Collection, Session
from kinto_orm.server import open_memory, serve
from web_page.reader import USER

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

"""A page over a real Kinto, and a browser that reads it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from starlette.testclient import TestClient

from kinto_orm import Session
from kinto_orm.web import app
from web_page.reader import HERE, Browser
from web_page.shop import kinto, session

__all__ = ["kinto", "session"]  # the fixtures of both browsers


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

"""Fixtures for tests of programs that use kinto-orm; pytest finds them by itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from kinto_orm.server import EmbeddedServer
    from kinto_orm.session import Session

_NAME = "kinto-orm-pytest"


@pytest.fixture(scope="session")
def kinto_server() -> Iterator[EmbeddedServer]:
    """A real Kinto in memory, for the whole test run; needs the extra `server`."""
    from kinto_orm.server.named import open_named

    with open_named(_NAME) as server:
        yield server


@pytest.fixture
def kinto_session(kinto_server: EmbeddedServer) -> Iterator[Session]:
    """The current session on a Kinto that is empty at the start of each test."""
    from kinto_orm.session import Session

    kinto_server.flush()
    with Session(f"memory://{_NAME}") as session:
        yield session

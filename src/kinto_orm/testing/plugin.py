"""Fixtures for tests of programs that use kinto-orm; pytest finds them by itself."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from kinto_orm.async_session import AsyncSession
    from kinto_orm.server import EmbeddedServer
    from kinto_orm.session import Session
    from kinto_orm.testing.factory import Factory
    from kinto_orm.testing.faults import Faults

_NAME = "kinto-orm-pytest"
_EMPTIED = pytest.StashKey[bool]()


@pytest.fixture(scope="session")
def kinto_server() -> Iterator[EmbeddedServer]:
    """A real Kinto in memory, for the whole test run; needs the extra `server`."""
    from kinto_orm.server.named import open_named

    with open_named(_NAME) as server:
        yield server


def _empty(server: EmbeddedServer, request: pytest.FixtureRequest) -> None:
    """Delete everything, once for each run of a test, which may have both sessions."""
    stash = request.node.stash
    if _EMPTIED not in stash:
        server.flush()
        stash[_EMPTIED] = True
        # Whoever runs a test again has the same node.
        request.addfinalizer(partial(stash.__delitem__, _EMPTIED))


@pytest.fixture
def kinto_session(
    kinto_server: EmbeddedServer, request: pytest.FixtureRequest
) -> Iterator[Session]:
    """The current session on a Kinto that is empty at the start of each test."""
    from kinto_orm.session import Session

    _empty(kinto_server, request)
    with Session(f"memory://{_NAME}") as session:
        yield session


@pytest.fixture
def kinto_async_session(
    kinto_server: EmbeddedServer, request: pytest.FixtureRequest
) -> Iterator[AsyncSession]:
    """The current AsyncSession on a Kinto that is empty at the start of each test.

    It is no coroutine, so that it serves tests of pytest-asyncio and of anyio's plugin alike.
    """
    import asyncio

    from kinto_orm.async_session import AsyncSession

    _empty(kinto_server, request)
    session = AsyncSession(f"memory://{_NAME}")
    # Entered, so that an application under test that uses it, too, does not close it at its end.
    session.enter()
    yield session
    session.leave()
    asyncio.run(session.close())


@pytest.fixture
def kinto_faults(request: pytest.FixtureRequest) -> Iterator[Faults]:
    """Faults that the requests of the test's sessions meet; see `kinto_orm.testing.faults`.

    They are those of `kinto_session` and `kinto_async_session`, whichever the test has.
    """
    from kinto_orm.testing.faults import Faults

    names = {"kinto_session", "kinto_async_session"} & {*request.fixturenames}
    sessions = [request.getfixturevalue(each) for each in sorted(names or {"kinto_session"})]
    with Faults(*sessions) as faults:
        yield faults


@pytest.fixture
def kinto_factory(request: pytest.FixtureRequest) -> Factory:
    """Makes objects of models with plausible values, the same in each run of a test.

    It needs the extra `test`.
    """
    from kinto_orm.testing.factory import Factory

    return Factory(request.node.nodeid)

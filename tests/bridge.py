"""A session that blocks, over the driver and the transport of an AsyncSession.

What a test says of a Session is so tried on the awaiting side as well, word for word.
"""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Coroutine, Iterator
from contextvars import copy_context
from typing import Any, TypeVar

import pytest

from kinto_orm import Session
from kinto_orm.async_session import transport_of
from kinto_orm.wire.awaiting import awaiting
from kinto_orm.wire.flows import Flow

T = TypeVar("T")


class BridgedSession(Session):
    """A Session whose flows are run by the awaiting driver, in a loop of its own."""

    __kinto_transport__ = staticmethod(transport_of)

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def __kinto_run__(self, flow: Flow[T]) -> T:
        async def in_context() -> T:
            context = copy_context()
            return await asyncio.create_task(awaiting(self, flow), context=context)

        task = asyncio.run_coroutine_threadsafe(in_context(), self._loop)
        return task.result()

    def __kinto_arun__(self, flow: Flow[T]) -> Coroutine[Any, Any, T]:
        return awaiting(self, flow)

    def close(self) -> None:
        if self.owns_connection and not self.connection.closed:
            asyncio.run_coroutine_threadsafe(self.connection.aclose(), self._loop).result()
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()


def both_drivers(module: str) -> Any:
    """A fixture that runs all tests of a module twice: its name `Session` opens either kind.

    Args:
        module: Its `__name__`.
    """

    @pytest.fixture(
        scope="module", autouse=True, params=[Session, BridgedSession], ids=["blocks", "awaits"]
    )
    def driver(request: pytest.FixtureRequest) -> Iterator[None]:
        names = vars(sys.modules[module])
        names["Session"] = request.param
        yield
        names["Session"] = Session

    return driver

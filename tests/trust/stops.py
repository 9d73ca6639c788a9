"""Cancelling a task at the N-th point where it waits, which is the same each time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Generator
from typing import Any


class Stop:
    """Awaits something, and cancels the task at one of the points where it waits.

    Args:
        work: What is awaited.
        number: At which point, 1-based; 0 for never.
        late: Whether what it waits for has come by then, and is not seen any more.

    Attributes:
        waits: At how many points it has waited.
    """

    def __init__(self, work: Awaitable[Any], number: int = 0, *, late: bool = False) -> None:
        self._work = work
        self._number = number
        self._late = late
        self.waits = 0

    def __await__(self) -> Generator[Any, None, Any]:
        steps = self._work.__await__()
        move, said = steps.send, None
        while True:
            try:
                waited = move(said)
            except StopIteration as end:
                return end.value
            self.waits += 1
            if self.waits == self._number:
                self._cancel(waited)
            try:
                move, said = steps.send, (yield waited)
            except BaseException as error:
                move, said = steps.throw, error

    def _cancel(self, waited: Any) -> None:
        task = asyncio.current_task()
        assert task is not None
        if self._late and waited is not None:
            waited.add_done_callback(lambda _: task.cancel())
        else:
            task.cancel()

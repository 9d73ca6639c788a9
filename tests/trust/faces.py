"""The two faces of the library: verbs that block, and their twins that are awaited.

An operation is written once, as a coroutine that says `await world.do(todo).save()`. The face of
its world decides what that is: `todo.save()` on a Session, or `await todo.asave()` on an
AsyncSession. What is iterated is `async for each in world.do(query)`, on both.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Generator
from functools import partial
from typing import Any, Protocol

from kinto_orm import AsyncSession, Session
from kinto_orm.bulk.twins import AsyncBatch
from kinto_orm.kv.twins import AsyncKeyValues

_SAME_NAMES = (AsyncSession, AsyncBatch, AsyncKeyValues)
# Brackets, `in` and `len` cannot be awaited.
_WORDS = {
    "__getitem__": "get",
    "__setitem__": "set",
    "__delitem__": "delete",
    "__contains__": "has",
    "__len__": "count",
}


class Face(Protocol):
    """How the verbs of operations are done.

    Attributes:
        name: That of its session.
        left: What was left behind: complaints of the loop, tasks that nobody waits for.
    """

    name: str
    left: list[str]

    def open(self, url: str, **options: Any) -> Any:
        """Make a session."""

    def do(self, subject: Any) -> Any:
        """What has the verbs of a subject, to be awaited or iterated."""

    def run(self, work: Awaitable[Any]) -> Any:
        """Do what an operation says; its result."""

    def interrupt(self) -> None:
        """Stop what is run; another thread may say so."""

    def close(self) -> None:
        """Let go of what it runs by."""


# Verbs that block


class Blocking:
    """The face of a Session: nothing that it does ever waits for a loop."""

    name = "Session"

    def __init__(self) -> None:
        self.left: list[str] = []

    def open(self, url: str, **options: Any) -> Session:
        return Session(url, **options)

    def do(self, subject: Any) -> Any:
        return _Verbs(subject)

    def run(self, work: Awaitable[Any]) -> Any:
        steps = work.__await__()
        try:
            next(steps)
        except StopIteration as end:
            return end.value
        raise AssertionError("a verb that blocks has waited for a loop")

    def interrupt(self) -> None:
        raise NotImplementedError("verbs that block are not cancelled")

    def close(self) -> None:
        pass


class _Verbs:
    def __init__(self, subject: Any) -> None:
        self._subject = subject

    def __getattr__(self, name: str) -> Callable[..., _Doing]:
        return partial(_Doing, getattr(self._subject, name))

    def __aiter__(self) -> AsyncIterator[Any]:
        return aiter(_Doing(iter, self._subject))

    async def __aenter__(self) -> Any:
        return self._subject.__enter__()

    async def __aexit__(self, *exc: object) -> Any:
        return self._subject.__exit__(*exc)


class _Doing:
    """A call that is made when it is awaited or iterated."""

    def __init__(self, verb: Callable[..., Any], *args: Any, **options: Any) -> None:
        self._call = partial(verb, *args, **options)

    def __await__(self) -> Generator[None, None, Any]:
        yield from ()
        return self._call()

    async def __aiter__(self) -> AsyncIterator[Any]:
        for each in self._call():
            yield each


# Verbs that are awaited


class Awaiting:
    """The face of an AsyncSession; it has a loop of its own.

    Attributes:
        left: As in Face.
    """

    name = "AsyncSession"

    def __init__(self) -> None:
        self.left: list[str] = []
        self._runner = asyncio.Runner()
        self._loop = self._runner.get_loop()
        self._loop.set_exception_handler(self._complain)
        self._task: asyncio.Task[Any] | None = None

    def open(self, url: str, **options: Any) -> AsyncSession:
        return AsyncSession(url, **options)

    def do(self, subject: Any) -> Any:
        return _Twins(subject)

    def run(self, work: Awaitable[Any]) -> Any:
        return self._runner.run(self._alone(work))

    def interrupt(self) -> None:
        task = self._task
        if task is not None:
            self._loop.call_soon_threadsafe(task.cancel)

    def close(self) -> None:
        self._runner.close()

    async def _alone(self, work: Awaitable[Any]) -> Any:
        self._task = asyncio.ensure_future(_awaited(work))
        try:
            await asyncio.wait([self._task])
            return self._task.result()
        finally:
            await self._look_for_tasks()

    async def _look_for_tasks(self) -> None:
        """What goes on though nobody waits for it: it has a few turns to end."""
        for _ in range(5):
            await asyncio.sleep(0)
        others = asyncio.all_tasks() - {asyncio.current_task(), self._task}
        self.left += [f"a task is left: {each!r:.200}" for each in others]

    def _complain(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self.left.append(f"{context['message']}: {context.get('exception')!r:.200}")


async def _awaited(work: Awaitable[Any]) -> Any:
    return await work


class _Twins:
    def __init__(self, subject: Any) -> None:
        self._subject = subject

    def __getattr__(self, name: str) -> Any:
        return getattr(self._subject, twin_of(self._subject, name))

    def __aiter__(self) -> AsyncIterator[Any]:
        return aiter(self._subject)

    async def __aenter__(self) -> Any:
        return await self._subject.__aenter__()

    async def __aexit__(self, *exc: Any) -> Any:
        return await self._subject.__aexit__(*exc)


def twin_of(subject: Any, name: str) -> str:
    """The name of the verb that is awaited."""
    same = isinstance(subject, _SAME_NAMES)
    return _WORDS.get(name, name) if same else f"a{name}"


FACES: dict[str, Callable[[], Face]] = {each.name: each for each in (Blocking, Awaiting)}

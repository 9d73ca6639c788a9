"""The awaiting driver: it runs a flow to its end in the task that asks for it.

Importing asyncio takes longer than importing the library, and most programs block: so it is
imported where it is needed.
"""

from __future__ import annotations

from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Awaitable,
    Callable,
    Coroutine,
    Iterator,
)
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from kinto_orm.wire.attempts import in_attempts
from kinto_orm.wire.clock import Until, begin_anew, end_within
from kinto_orm.wire.flows import Anew, Await, Flow, Pause, Sending, Together, Work
from kinto_orm.wire.scope import Scope, check_kind

if TYPE_CHECKING:
    import asyncio

T = TypeVar("T")


def arun(scope: Scope, flow: Flow[T]) -> Coroutine[Any, Any, T]:
    """Run a flow when it is awaited, and give its result; see `driving.run`.

    Args:
        scope: Over whose connection it goes.
        flow: A new one.

    Raises:
        ConfigurationError: The session is closed, or is one that blocks.
        KintoError: What the flow raises.
    """
    return scope.__kinto_arun__(flow)


def arun_each(scope: Scope, flows: Iterator[Flow[list[T]]]) -> AsyncGenerator[T]:
    """Run flows one after the other; what all of them give.

    Raises:
        ConfigurationError: At once: the session is one that blocks.
    """
    check_kind(scope, awaits=True)
    return _each(scope, flows)


async def _each(scope: Scope, flows: Iterator[Flow[list[T]]]) -> AsyncGenerator[T]:
    for flow in flows:
        for each in await arun(scope, flow):
            yield each


@asynccontextmanager
async def iterating(iterable: AsyncIterable[T]) -> AsyncIterator[AsyncIterator[T]]:
    """An iterator over something, closed at the end of the block if it was opened for it.

    One that was left would end when the garbage collector finds it, and what it fetches ahead.
    """
    iterator = aiter(iterable)
    try:
        yield iterator
    finally:
        if iterator is not iterable and isinstance(iterator, AsyncGenerator):
            await iterator.aclose()


async def awaiting(scope: Scope, flow: Flow[T]) -> T:
    """Run a flow over a connection that is awaited; see `arun`."""
    try:
        first = next(flow)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]
    connection = scope.connection
    sendings = in_attempts(flow, first, connection)
    with Until(end_within(connection.policy.deadline)):
        return await _go_on(scope, sendings)


async def _go_on(scope: Scope, flow: Flow[T]) -> T:
    try:
        step = next(flow)
        while True:
            try:
                # By far the most frequent one, without a coroutine between.
                if type(step) is Sending:
                    scope.check_open()
                    answer = await scope.connection.transport.send(step.request, step.until)
                else:
                    answer = await _STEPS[type(step)](scope, step)
            except BaseException as error:  # noqa: BLE001  (the flow knows what it means)
                step = flow.throw(error)
            else:
                step = flow.send(answer)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]


async def _pause(scope: Scope, pause: Pause) -> None:
    from asyncio import sleep

    await sleep(pause.seconds)


async def _begin_anew(scope: Scope, anew: Anew) -> None:
    begin_anew(scope.connection.policy.deadline)


async def _work(scope: Scope, work: Work) -> Any:
    """Call it in a thread: it takes its time, and the loop has others to serve."""
    from asyncio import to_thread

    inside = _Inside(scope)
    try:
        return await to_thread(work.function, inside.run)
    finally:
        await inside.end()


class _Inside:
    """Runs flows for a function that is called in a thread, until nobody waits for it any more.

    Args:
        scope: Over whose connection they go.
    """

    def __init__(self, scope: Scope) -> None:
        import asyncio

        self._scope = scope
        self._loop = asyncio.get_running_loop()
        self._task: asyncio.Task[Any] | None = None
        self._is_over = False

    def run(self, flow: Flow[Any]) -> Any:
        """Run a flow, and give its result, in the thread of the function."""
        import asyncio

        if self._is_over:
            raise asyncio.CancelledError
        return asyncio.run_coroutine_threadsafe(self._run(flow), self._loop).result()

    async def _run(self, flow: Flow[Any]) -> Any:
        import asyncio

        if self._is_over:
            raise asyncio.CancelledError
        self._task = asyncio.current_task()
        try:
            return await arun(self._scope, flow)
        finally:
            self._task = None

    async def end(self) -> None:
        """Stop what is under way, and refuse what comes later: a thread cannot be stopped."""
        import asyncio

        self._is_over = True
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)


async def _await(scope: Scope, step: Await) -> Any:
    return await step.awaitable


async def _together(scope: Scope, together: Together) -> list[Any]:
    return await side_by_side([partial(arun, scope, each) for each in together.flows])


async def side_by_side(works: list[Callable[[], Awaitable[Any]]]) -> list[Any]:
    """Await coroutines side by side, each with the clock of the call; the results in order.

    Raises:
        Exception: What the first of them, in order, raised.
    """
    if len(works) < 2:
        return [await each() for each in works]
    import asyncio

    tasks = [asyncio.ensure_future(each()) for each in works]
    try:
        await asyncio.wait(tasks)
    finally:
        for each in tasks:
            each.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return [each.result() for each in tasks]


_STEPS: dict[type, Callable[[Scope, Any], Awaitable[Any]]] = {
    Pause: _pause,
    Together: _together,
    Work: _work,
    Await: _await,
    Anew: _begin_anew,
}

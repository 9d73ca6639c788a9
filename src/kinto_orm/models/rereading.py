"""Read-modify-write that runs again when somebody else was first."""

from __future__ import annotations

import functools
import inspect
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Literal, ParamSpec, TypeVar

from kinto_orm.errors import BatchError, Conflict, wrong_option
from kinto_orm.wire.clock import race_pause

P = ParamSpec("P")
T = TypeVar("T")

_LATE = (inspect.isgeneratorfunction, inspect.isasyncgenfunction)


def retry_on_conflict(
    times: int = 5, *, unconfirmed: Literal["raise", "again"] = "raise"
) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Decorate a function that reads, changes and saves, so that a Conflict runs it again.

    A coroutine function serves, too, for the verbs that are awaited.

    The function must read inside, so that it sees what the other writer left::

        @retry_on_conflict(times=10)
        def count_visit() -> None:
            page = Page.get("home")
            page.visits += 1
            page.save()

    A BatchError of nothing but conflicts runs it again, too. What else the batch did stays done,
    as after any save before a Conflict: the next run reads it, and does it once more.

    Args:
        times: How often to run it again after the first time, 0 or more. The waits between are
            random and grow, from the time that one run takes up to a second.
        unconfirmed: What an unconfirmed Conflict does, where the server has what was to be
            written and an answer was lost: "raise" lets it through, since running again would do
            twice what may be done already, such as counting a visit; "again" runs again, for
            what may be done twice.

    Raises:
        Conflict: The last one, when it still conflicts; an unconfirmed one at once.
        BatchError: The last one; one that holds anything but a Conflict at once.
        TypeError: What is decorated is a generator function.
    """
    if not isinstance(times, int) or times < 0:
        raise wrong_option(f"times must be 0 or more, not {times!r}: @retry_on_conflict(times=5)")
    if unconfirmed not in ("raise", "again"):
        raise wrong_option(f'unconfirmed must be "raise" or "again", not {unconfirmed!r}')

    def decorate(function: Callable[P, T]) -> Callable[P, T]:
        if any(is_late(function) for is_late in _LATE):
            raise TypeError(
                f"{function.__name__} only makes a generator when it is called, so that no "
                "Conflict reaches @retry_on_conflict; decorate a plain function, or a coroutine "
                "function"
            )
        again = unconfirmed == "again"
        if inspect.iscoroutinefunction(function):
            return _awaited(function, times, again)  # type: ignore[return-value]

        @functools.wraps(function)
        def run(*args: P.args, **kwargs: P.kwargs) -> T:
            for attempt in range(times):
                began = time.monotonic()
                try:
                    return function(*args, **kwargs)
                except (Conflict, BatchError) as error:
                    if not _may_run_again(error, again):
                        raise
                    time.sleep(race_pause(attempt, began))
            return function(*args, **kwargs)

        return run

    return decorate


def _awaited(
    function: Callable[P, Awaitable[T]], times: int, again: bool
) -> Callable[P, Coroutine[Any, Any, T]]:
    @functools.wraps(function)
    async def run(*args: P.args, **kwargs: P.kwargs) -> T:
        from asyncio import sleep

        for attempt in range(times):
            began = time.monotonic()
            try:
                return await function(*args, **kwargs)
            except (Conflict, BatchError) as error:
                if not _may_run_again(error, again):
                    raise
                await sleep(race_pause(attempt, began))
        return await function(*args, **kwargs)

    return run


def _may_run_again(error: Exception, unconfirmed: bool) -> bool:
    """Whether all that failed are conflicts after which the function may run again."""
    errors = error.exceptions if isinstance(error, BatchError) else (error,)
    return all(
        isinstance(each, Conflict) and (unconfirmed or not each.unconfirmed) for each in errors
    )

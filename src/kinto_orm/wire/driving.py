"""The blocking driver: it runs a flow to its end in the thread that asks for it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextvars import copy_context
from functools import partial
from typing import Any, NoReturn, TypeVar

from kinto_orm.errors import ConfigurationError
from kinto_orm.wire.attempts import in_attempts
from kinto_orm.wire.clock import Until, begin_anew, end_within
from kinto_orm.wire.flows import SIDE_BY_SIDE, Anew, Await, Flow, Pause, Sending, Together, Work
from kinto_orm.wire.messages import Reply
from kinto_orm.wire.scope import Scope, check_kind

T = TypeVar("T")


def run(scope: Scope, flow: Flow[T]) -> T:
    """Run a flow, and give its result, by the scope's own driver.

    All that it sends shares one deadline; within another flow that is that one's.

    Args:
        scope: Over whose connection it goes.
        flow: A new one.

    Raises:
        ConfigurationError: The session is closed, or is one that is awaited.
        KintoError: What the flow raises.
    """
    return scope.__kinto_run__(flow)


def run_each(scope: Scope, flows: Iterator[Flow[list[T]]]) -> Iterator[T]:
    """Run flows one after the other; what all of them give.

    Raises:
        ConfigurationError: At once: the session is one that is awaited.
    """
    check_kind(scope, awaits=False)
    return _each(scope, flows)


def _each(scope: Scope, flows: Iterator[Flow[list[T]]]) -> Iterator[T]:
    for flow in flows:
        yield from run(scope, flow)


def blocking(scope: Scope, flow: Flow[T]) -> T:
    """Run a flow over a connection that blocks; see `run`."""
    try:
        first = next(flow)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]
    with one_call(scope):
        return _go_on(scope, in_attempts(flow, first, scope.connection))


def one_call(scope: Scope) -> Until:
    """All flows that are run in this block are one call, and share its deadline."""
    return Until(end_within(scope.connection.policy.deadline))


def _go_on(scope: Scope, flow: Flow[T]) -> T:
    try:
        step = next(flow)
        while True:
            try:
                answer = _STEPS[type(step)](scope, step)
            except BaseException as error:  # noqa: BLE001  (the flow knows what it means)
                step = flow.throw(error)
            else:
                step = flow.send(answer)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]


def _send_once(scope: Scope, sending: Sending) -> Reply:
    scope.check_open()
    reply: Reply = scope.connection.transport.send(sending.request, sending.until)
    return reply


def _pause(scope: Scope, pause: Pause) -> None:
    time.sleep(pause.seconds)


def _begin_anew(scope: Scope, anew: Anew) -> None:
    begin_anew(scope.connection.policy.deadline)


def _work(scope: Scope, work: Work) -> Any:
    return work.function(partial(run, scope))


def _refuse_await(scope: Scope, step: Await) -> NoReturn:
    raise ConfigurationError(
        f"{step.what} is to be awaited, and {scope!r} blocks: write it with `def`, or use an "
        "AsyncSession"
    )


def _together(scope: Scope, together: Together) -> list[Any]:
    if len(together.flows) < 2:
        return [run(scope, each) for each in together.flows]
    return in_threads([partial(run, scope, each) for each in together.flows])


def in_threads(works: Sequence[Callable[[], Any]]) -> list[Any]:
    """Run functions side by side, each with the clock of the call; the results in order.

    Raises:
        Exception: What the first of them, in order, raised.
    """
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(min(len(works), SIDE_BY_SIDE), "kinto-orm") as pool:
        futures = [pool.submit(copy_context().run, each) for each in works]
    return [each.result() for each in futures]


_STEPS: dict[type, Callable[[Scope, Any], Any]] = {
    Sending: _send_once,
    Pause: _pause,
    Together: _together,
    Work: _work,
    Await: _refuse_await,
    Anew: _begin_anew,
}

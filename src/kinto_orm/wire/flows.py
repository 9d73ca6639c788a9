"""Flows: an operation is a generator that yields what it wants done, and is sent the answer.

Nothing in a flow reads a socket, sleeps, or knows a thread. Whoever drives it decides how: the
driver of a session blocks, a batch sends the requests of many flows together, a test feeds the
answers by hand::

    flow = saving(todo, scope)
    request = next(flow)
    flow.send(Reply(200, {}, b'{"data": {...}}'))     # StopIteration: it is done
"""

from __future__ import annotations

import dataclasses
from collections.abc import Awaitable, Callable, Coroutine, Generator, Iterable, Sequence
from itertools import islice
from typing import Any, TypeAlias, TypeVar

from kinto_orm.errors import BadReply, ResponseError, ServerError, TransportError, again
from kinto_orm.wire.messages import Reply, Request
from kinto_orm.wire.parents import Parents
from kinto_orm.wire.refusals import error_for, has_reason
from kinto_orm.wire.watching import log

T = TypeVar("T")


# Requests that are under way at the same time, for one operation.
SIDE_BY_SIDE = 8

# Plain classes: dataclasses take ten times as long to be imported.


class Pause:
    """A step: wait.

    Args:
        seconds: How long.
    """

    __slots__ = ("seconds",)

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds


class Sending:
    """A step: send a request once, and nothing else. Answered by a Reply of any status.

    Args:
        request: What is sent.
        until: When its answer has to be there, by `time.monotonic()`.
    """

    __slots__ = ("request", "until")

    def __init__(self, request: Request, until: float) -> None:
        self.request = request
        self.until = until


class Together:
    """A step: run several flows side by side. Answered by a list of their results, in order.

    Args:
        flows: None of them waits for another one.
    """

    __slots__ = ("flows",)

    def __init__(self, flows: Sequence[Flow[Any]]) -> None:
        self.flows = flows


class Work:
    """A step: call a function that takes its time, such as a render. Answered by its result.

    Args:
        function: Is given what runs a flow from inside of it.
    """

    __slots__ = ("function",)

    def __init__(self, function: Callable[[Callable[[Flow[Any]], Any]], Any]) -> None:
        self.function = function


class Await:
    """A step: await this, such as what a coroutine hook gave. Answered by its result.

    A driver that blocks raises ConfigurationError instead. Whoever yields it closes it.

    Args:
        awaitable: What is to be awaited.
        what: What gave it, for messages: "Todo.before_save()".
    """

    __slots__ = ("awaitable", "what")

    def __init__(self, awaitable: Awaitable[Any], what: str) -> None:
        self.awaitable = awaitable
        self.what = what


class Anew:
    """A step: what follows is a call with a deadline of its own, as for the next page."""

    __slots__ = ()


ANEW = Anew()

Step: TypeAlias = Request | Sending | Pause | Together | Work | Await | Anew
"""A Request is sent as often as it takes; answered by a Reply, or by a TransportError."""

Flow: TypeAlias = Generator[Step, Any, T]
"""An operation that gives a T."""


def ask(request: Request, doing: str, parents: Parents | None = None) -> Flow[Reply]:
    """Send a request, and give the answer below 400.

    Missing parents that the library may make are made, and the request is sent once more.

    Args:
        request: What is sent.
        doing: The act and its object, for errors: "save Todo 'x'".
        parents: What must exist first; see `Parents`. None: nothing is made.

    Raises:
        ResponseError: The server refused; `.lost` says whether an earlier sending may have done
            it.
        TransportError: No usable answer came.
    """
    reply = yield from _answer(request, doing)
    if 400 <= reply.status < 500:
        reply = yield from _after_refusal(request, reply, parents)
    if reply.status < 300 or reply.status == 304:
        return reply
    if reply.status in (409, 412):
        log.info("cannot %s: somebody else was first (%d)", doing, reply.status)
    raise _refusal(request, reply, parents)


def calling(function: Callable[..., Any], what: str, *args: Any) -> Flow[Any]:
    """Call a function of the program, which may be a coroutine function; what it gives.

    Args:
        function: Any.
        what: What it is, for messages: "Todo.before_save()".
        *args: What it is given.

    Raises:
        ConfigurationError: It gave what is to be awaited, and nobody awaits.
        Exception: What it raises.
    """
    given = function(*args)
    if not isinstance(given, Awaitable):
        return given
    try:
        return (yield Await(given, what))
    finally:
        if isinstance(given, Coroutine):
            given.close()  # else Python warns of one that was never begun


def side_by_side(flows: Iterable[Flow[T]]) -> Flow[list[T]]:
    """Run flows side by side, a few at a time; their results in order.

    Args:
        flows: None of them waits for another one. They are made as they are needed.
    """
    found: list[T] = []
    rest = iter(flows)
    while group := list(islice(rest, SIDE_BY_SIDE)):
        found += yield Together(group)
        yield ANEW
    return found


def _answer(request: Request, doing: str) -> Flow[Reply]:
    """The answer of any status; it knows what it is for."""
    request.doing = doing
    try:
        reply: Reply = yield request
    except (TransportError, ServerError) as error:
        raise again(error, f"cannot {doing}: {error}") from error
    reply.doing = doing
    if request.veil is not None:
        reply.mask = request.masked(reply.mask)
    return reply


def _after_refusal(request: Request, refusal: Reply, parents: Parents | None) -> Flow[Reply]:
    """The answer after what stood in the way was made; else the refusal, with its reason."""
    doing = refusal.doing
    if request.method == "HEAD":
        # Its answer has no body that could say why.
        refusal = yield from _answer(_as_get(request), doing)
        if refusal.status < 400:
            return (yield from _answer(request, doing))
    creation = _creation(request, refusal, parents)
    if creation is None:
        return refusal
    made = yield from _answer(creation, doing)
    if made.status in (401, 403, 404):
        return refusal  # it says what has to be there, and who may make it
    # 412: it is there already.
    if made.status not in (200, 201, 412):
        raise _refusal(creation, made, None)
    return (yield from _answer(request, doing))


def _creation(request: Request, refusal: Reply, parents: Parents | None) -> Request | None:
    """What makes the missing parent, if that is why and if it may be made."""
    if parents is None or not parents.permitted or refusal.status not in (401, 403, 404):
        return None
    try:
        error = error_for(refusal, request)
    except BadReply:  # whoever reads the refusal says so
        return None
    return parents.creation() if parents.missing(error) else None


def _as_get(request: Request) -> Request:
    """The request that is answered like a HEAD, with a body."""
    query = f"{request.query}&_limit=1" if request.query else "_limit=1"
    return dataclasses.replace(request, method="GET", query=query)


def _refusal(request: Request, reply: Reply, parents: Parents | None) -> ResponseError:
    """What a refusing reply means, with the remedy when a parent is missing."""
    error = error_for(reply, request)
    if parents is not None and parents.missing(error) and not has_reason(reply):
        error.args = (f"{error} {parents.remedy(error)}",)
    return error

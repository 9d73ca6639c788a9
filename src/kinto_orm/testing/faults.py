"""Faults on purpose: what your program does when the server, or the way to it, fails.

::

    def test_a_busy_server_is_asked_again(kinto_session, kinto_faults):
        kinto_faults.next(refuse(503, retry_after=0), to="write")
        Todo(title="Write the report").save()

They come between a session and its transport, on both sessions, whether the server is embedded or
reached over HTTP. All above, such as attempts, waiting and errors, is what it always is.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from contextvars import ContextVar
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import partial
from types import MappingProxyType
from typing import Any, Literal, Self, TypeAlias, get_args

from requests.structures import CaseInsensitiveDict

from kinto_orm.errors import ConfigurationError, ConnectFailed, Timeout, TransportError
from kinto_orm.testing.interposing import AwaitedInterposed, Interposed
from kinto_orm.wire.clock import is_seconds
from kinto_orm.wire.flows import Flow, Pause, calling
from kinto_orm.wire.forking import renew_in_children
from kinto_orm.wire.messages import Reply, Request
from kinto_orm.wire.scope import Scope, refuse_other

__all__ = [
    "Fault",
    "Faults",
    "cut",
    "delay",
    "gateway",
    "meanwhile",
    "refuse",
    "time_out",
]

To: TypeAlias = Literal["any", "read", "write", "GET", "HEAD", "PUT", "PATCH", "POST", "DELETE"]

# Status: (errno, message), as kinto.core.errors has them.
_REFUSALS = {
    400: (107, "Invalid parameters"),
    401: (104, "Please authenticate yourself to use this endpoint."),
    403: (121, "This user cannot access this resource."),
    404: (110, "The resource you are looking for could not be found."),
    405: (115, "Method not allowed on this endpoint."),
    409: (122, "Integrity constraint violated, please retry."),
    410: (202, "The service is deprecated."),
    412: (114, "Resource was modified meanwhile"),
    413: (113, "Request body too large"),
    429: (117, "Too many requests"),
    500: (999, "A programmatic error occured, developers have been informed."),
    503: (201, "Service temporary unavailable due to overloading, please retry later."),
}
_WRITTEN = ("cut()", "time_out()", "delay(1)", "gateway()", "refuse(503)", "meanwhile(function)")
_JSON = "application/json"
_PAGE = b"<html><head><title>Gateway</title></head><body><h1>Please log in</h1></body></html>"

# How many functions of `meanwhile` this is within: a task or a thread of a pool has its own.
_within: ContextVar[int] = ContextVar("kinto_orm_meanwhile", default=0)


@dataclass(frozen=True)
class Fault:
    """What becomes of one request. The functions of this module make them.

    Attributes:
        name: As it was written.
        play: Gives the flow for a request, which lets the server do the work or not.
    """

    name: str
    play: Callable[[Request], Flow[Reply]] = field(repr=False, compare=False)

    def __repr__(self) -> str:
        return self.name


# What becomes of a request


def cut(*, done: bool = False) -> Fault:
    """Cut the connection: no answer comes. The session raises ConnectFailed, or tries again.

    Args:
        done: Whether the server does the work before, so that only its answer is lost.
    """

    def reason(request: Request) -> TransportError:
        return ConnectFailed(
            f"no answer to {request!r}: the connection was cut (a fault of the test)"
        )

    return _losing(f"cut({_shown(done)})", done, reason)


def time_out(*, done: bool = False) -> Fault:
    """Let the session's timeout pass, at once: nobody has to wait for it. It raises Timeout.

    Args:
        done: Whether the server does the work before, so that only its answer is lost.
    """

    def reason(request: Request) -> TransportError:
        return Timeout(f"the server did not answer {request!r} in time (a fault of the test)")

    return _losing(f"time_out({_shown(done)})", done, reason)


def _losing(name: str, done: bool, reason: Callable[[Request], TransportError]) -> Fault:
    def play(request: Request) -> Flow[Reply]:
        if done:
            yield request
        raise reason(request)

    return Fault(name, play)


def _shown(done: bool) -> str:
    return "done=True" if done else ""


def delay(seconds: float) -> Fault:
    """Let the server do the work, and hold back its answer.

    When that is longer than the session waits (its timeout, or the deadline of its Retry), it
    raises Timeout after that time.

    Args:
        seconds: How long; 0 or more.

    Raises:
        ConfigurationError: It is no such number.
    """
    _check_seconds(f"delay({seconds!r})", seconds)

    def play(request: Request) -> Flow[Reply]:
        reply: Reply = yield request
        yield Pause(seconds)
        return reply

    return Fault(f"delay({seconds!r})", play)


def gateway(status: int = 502, *, done: bool = False) -> Fault:
    """Answer with a page of HTML, as gateways, proxies and captive portals do.

    Args:
        status: The HTTP status; 200 is a portal that wants a login.
        done: Whether the server does the work before: the gateway lost its answer.

    Raises:
        ConfigurationError: There is no answer of this status.
    """
    if not isinstance(status, int) or not 200 <= status <= 599:
        raise ConfigurationError(
            f"gateway({status!r}): an HTTP status is needed, from 200 to 599, as in gateway(502)"
        )

    def play(request: Request) -> Flow[Reply]:
        if done:
            yield request
        return page(status)

    more = f", {_shown(done)}" if done else ""
    return Fault(f"gateway({status}{more})", play)


def refuse(status: int, *, retry_after: float | None = None) -> Fault:
    """Answer with a refusal in Kinto's own words; the server does nothing.

    503, 429 and 409 mean "not now", 412 that the precondition does not hold. For a conflict with a
    true state on the other side, let somebody write `meanwhile`.

    Args:
        status: 400, 401, 403, 404, 405, 409, 410, 412, 413, 429, 500 or 503.
        retry_after: Seconds of the header Retry-After, 0 or more; None for no header.

    Raises:
        ConfigurationError: Kinto does not answer with this status, or it is no such number.
    """
    if not isinstance(status, int) or status not in _REFUSALS:
        known = ", ".join(map(str, _REFUSALS))
        raise ConfigurationError(
            f"refuse({status!r}): Kinto refuses with {known}; a gateway does with gateway(502)"
        )
    if retry_after is not None:
        _check_seconds(f"refuse({status}, retry_after={retry_after!r})", retry_after)
    headers = {} if retry_after is None else {"Retry-After": str(retry_after)}

    def play(request: Request) -> Flow[Reply]:
        yield from ()
        return refusal(status, headers=headers)

    more = "" if retry_after is None else f", retry_after={retry_after!r}"
    return Fault(f"refuse({status}{more})", play)


def meanwhile(act: Callable[[], object], then: Fault | None = None) -> Fault:
    """Let something happen just before the request arrives, such as another writer's write.

    Args:
        act: A function without arguments, for an AsyncSession also a coroutine function. It may use
            the session itself: what it sends meets no fault, but those begun in it.
        then: What becomes of the request afterwards; None for nothing special.

    Raises:
        ConfigurationError: It is no function, or `then` no fault.
    """
    if not callable(act):
        raise ConfigurationError(
            f"meanwhile() needs a function, not a {type(act).__name__}: write meanwhile(function), "
            "without calling it"
        )
    if then is not None:
        _check_fault(then, "meanwhile(function, cut())")

    def play(request: Request) -> Flow[Reply]:
        yield from _apart(calling(act, "the function of meanwhile()"))
        if then is not None:
            return (yield from then.play(request))
        reply: Reply = yield request
        return reply

    more = "" if then is None else f", {then!r}"
    return Fault(f"meanwhile({getattr(act, '__name__', act)}{more})", play)


def _apart(flow: Flow[object]) -> Flow[None]:
    """Let nothing that is sent in this flow meet the faults that it is part of."""
    token = _within.set(_within.get() + 1)
    try:
        yield from flow
    finally:
        _within.reset(token)


def _check_seconds(call: str, given: object) -> None:
    if isinstance(given, bool) or not (given == 0 or is_seconds(given)):
        raise ConfigurationError(f"{call}: a number of seconds is needed, 0 or more")


def _check_fault(given: object, example: str) -> None:
    """Refuse what is no fault, such as a function that was to be called."""
    if isinstance(given, Fault):
        return
    shown, written = f"a {type(given).__name__}", ", ".join(_WRITTEN)
    for call in _WRITTEN:
        if call.partition("(")[0] == getattr(given, "__name__", ""):
            shown, example = "a function that is not called", call
    raise ConfigurationError(f"{shown} is no fault: write {example}; faults are {written}")


def refusal(
    status: int,
    errno: int = 0,
    message: str = "",
    details: object = None,
    headers: Mapping[str, str] = MappingProxyType({}),
) -> Reply:
    """A refusal in Kinto's own words.

    Args:
        status: The HTTP status.
        errno: Kinto's number; 0 for the usual one of the status.
        message: What it says; empty for the usual text.
        details: What it tells besides.
        headers: By name.
    """
    usual = _REFUSALS.get(status, (errno, "Refused"))
    body: dict[str, Any] = {
        "code": status,
        "errno": errno or usual[0],
        "error": "Refused",
        "message": message or usual[1],
    }
    if details is not None:
        body["details"] = details
    return _reply(status, json.dumps(body).encode(), {**headers, "Content-Type": _JSON})


def page(status: int) -> Reply:
    """A page of HTML, as gateways answer."""
    return _reply(status, _PAGE, {"Content-Type": "text/html"})


def _reply(status: int, body: bytes, headers: Mapping[str, str]) -> Reply:
    return Reply(status, CaseInsensitiveDict(headers), body)


# Which requests meet them


@dataclass(frozen=True)
class _Rule:
    fault: Fault
    to: To
    path: str

    def __post_init__(self) -> None:
        _check_fault(self.fault, "cut()")
        if self.to not in get_args(To):
            raise ConfigurationError(
                f"to={self.to!r} is no kind of request: write one of {', '.join(get_args(To))}"
            )
        # A path begins with a slash: nothing else could ever be met.
        if not isinstance(self.path, str) or not self.path.startswith(("/", "*", "?", "[")):
            raise ConfigurationError(
                f"path={self.path!r} is no path below the server's URL: write one such as "
                '"/buckets/work" or "*/collections/todos/*"'
            )

    def meets(self, request: Request) -> bool:
        kind = "read" if request.method in ("GET", "HEAD") else "write"
        return self.to in ("any", kind, request.method) and fnmatchcase(request.path, self.path)

    def __repr__(self) -> str:
        to = "" if self.to == "any" else f" to {self.to!r}"
        return f"{self.fault!r}{to}" + ("" if self.path == "*" else f" at {self.path!r}")


class Faults:
    """Faults that the requests of sessions meet, within a `with` block.

    At its end all of `next` have to have been met: a test of a fault that never happened shows
    nothing.

    Args:
        *sessions: Of both kinds. Those scoped from them share their connection, and meet them too.

    Attributes:
        sent: What was sent in the block, each attempt of its own: "PUT /buckets/work". What met a
            fault is in it, whether the server saw it or not, and what a function of `meanwhile`
            sent.

    Raises:
        ConfigurationError: No session is given, or something else.
    """

    def __init__(self, *sessions: Scope) -> None:
        if not sessions:
            raise ConfigurationError(
                "Faults() needs a session: write `with Faults(session) as faults:`"
            )
        for each in sessions:
            refuse_other(each, "Faults: ")
        self.sent: list[str] = []
        self._sessions = sessions
        self._stack: ExitStack | None = None
        self._began_within = 0
        self._next: list[_Rule] = []
        self._every: list[_Rule] = []
        self.after_fork()
        renew_in_children(self)

    def after_fork(self) -> None:
        """Make the lock anew, in a forked child."""
        self._lock = threading.Lock()

    def next(self, *faults: Fault, to: To = "any", path: str = "*") -> None:
        """Let the next requests meet these faults, each of them one, in order.

        An attempt is a request: what is tried again meets the next fault. A batch is one request,
        and a POST.

        Args:
            *faults: What becomes of them.
            to: Only those of a method, or those that "read" or "write"; others pass. A first
                request on the bucket `default` is a GET of the server's root page.
            path: Only those whose path below the server's URL looks like this, `*` for anything:
                "*/collections/todos/*".

        Raises:
            ConfigurationError: The `with` block has not begun, or is over; no fault is given, or
                what no request can meet.
        """
        self._check_entered()
        if not faults:
            raise ConfigurationError("next() needs a fault: write next(cut())")
        rules = [_Rule(each, to, path) for each in faults]
        with self._lock:
            self._next += rules

    def every(self, fault: Fault, *, to: To = "any", path: str = "*") -> None:
        """Let each request meet this fault, until `clear()` or the end of the block.

        Args:
            fault: What becomes of them.
            to: As in `next`.
            path: As in `next`.

        Raises:
            ConfigurationError: As in `next`.
        """
        self._check_entered()
        rule = _Rule(fault, to, path)
        with self._lock:
            self._every.append(rule)

    def clear(self) -> None:
        """Let later requests meet nothing; also what was to be met next."""
        with self._lock:
            self._next, self._every = [], []

    def __enter__(self) -> Self:
        kinds = {each.connection: each.__kinto_awaits__ for each in self._sessions}
        with ExitStack() as stack:
            for connection, awaits in kinds.items():
                around = AwaitedInterposed if awaits else Interposed
                stack.enter_context(connection.through(partial(around, treat=self._treat)))
            self._stack = stack.pop_all()
        self._began_within = _within.get()
        return self

    def __exit__(self, kind: object, *rest: object) -> None:
        stack, self._stack = self._stack, None
        if stack is not None:
            stack.close()
        left, self._next = self._next, []
        if left and kind is None:
            shown = ", ".join(map(repr, left))
            sent = ", ".join(self.sent) or "nothing"
            raise AssertionError(f"no request met {shown}; sent was {sent}")

    def _check_entered(self) -> None:
        if self._stack is None:
            raise ConfigurationError("faults are met within `with Faults(session) as faults:`")

    def _treat(self, request: Request) -> Flow[Reply] | None:
        with self._lock:
            self.sent.append(f"{request.method} {request.path}")
            if _within.get() > self._began_within:
                return None
            rule = next((each for each in self._next if each.meets(request)), None)
            if rule is not None:
                self._next.remove(rule)
            else:
                rule = next((each for each in self._every if each.meets(request)), None)
        return None if rule is None else rule.fault.play(request)

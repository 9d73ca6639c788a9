"""Seeing what is sent, or would be: a function of the program, and the logger `kinto_orm`.

What nobody looks at costs a question or two for each request.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from kinto_orm._shown import Described
from kinto_orm.wire.messages import Reply, Request

log = logging.getLogger("kinto_orm")


@dataclass(frozen=True, slots=True, repr=False)
class RequestEvent(Described):
    """One sending of one request; without bodies, headers and credentials.

    In a dry run also one request that was not sent.

    Attributes:
        method: In capitals.
        path: Below the server's URL, quoted.
        query: The quoted query string, without `?`; `...` for the values of secret fields.
        doing: What it is for: "save Todo 'x' in /buckets/...".
        attempt: The how manieth sending of this request it is, from 1 on.
        status: The HTTP status; None where no answer came.
        seconds: From the sending to the last byte of the answer.
        bytes_sent: Of the body.
        bytes_received: Of the answer's body, unpacked.
        error: Why there is no answer; None where there is one.
        sent: False for a write of a dry run: the status is what the server would have answered.
    """

    method: str
    path: str
    query: str
    doing: str
    attempt: int
    status: int | None
    seconds: float
    bytes_sent: int
    bytes_received: int
    error: BaseException | None = None
    sent: bool = True

    def __str__(self) -> str:
        target = f"{self.path}?{self.query}" if self.query else self.path
        outcome = self.status if self.error is None else type(self.error).__name__
        again = f", attempt {self.attempt}" if self.attempt > 1 else ""
        # Where it is, the path says.
        purpose = f" to {self.doing.partition(' in /')[0]}" if self.doing else ""
        if not self.sent:
            return f"dry run: would send {self.method} {target}{purpose}: {outcome}"
        return (
            f"{self.method} {target}{purpose}: {outcome} in {self.seconds * 1000:.1f} ms, "
            f"{self.bytes_sent} bytes sent, {self.bytes_received} received{again}"
        )


OnRequest = Callable[[RequestEvent], object]


class Watched(Protocol):
    """What is watched: a connection."""

    on_request: OnRequest | None


def is_watched(way: Watched) -> bool:
    """Whether anybody looks at what is sent."""
    return way.on_request is not None or log.isEnabledFor(logging.DEBUG)


class Watch:
    """Looks at one sending, and tells of it when it is over.

    Args:
        way: Who wants to be told.
        request: What is sent.
        attempt: The how manieth sending it is, from 1 on.
    """

    __slots__ = ("_attempt", "_began", "_request", "_way")

    def __init__(self, way: Watched, request: Request, attempt: int) -> None:
        self._way = way
        self._request = request
        self._attempt = attempt
        self._began = time.perf_counter()

    def tell(self, reply: Reply | None, error: BaseException | None) -> None:
        """Tell how it ended."""
        request = self._request
        event = RequestEvent(
            request.method,
            request.path,
            request.shown.query,
            request.doing,
            self._attempt,
            None if reply is None else reply.status,
            time.perf_counter() - self._began,
            len(request.body or b""),
            0 if reply is None else len(reply.body),
            error,
        )
        log.debug("%s", event)
        if self._way.on_request is not None:
            _call(self._way.on_request, event)


def tell_unsent(way: Watched, request: Request, reply: Reply) -> None:
    """Tell of a write that a dry run does not send.

    Args:
        way: Who wants to be told.
        request: What would be sent.
        reply: What is taken for the server's answer.
    """
    sizes = len(request.body or b""), len(reply.body)
    event = RequestEvent(
        request.method,
        request.path,
        request.shown.query,
        request.doing,
        1,
        reply.status,
        0.0,
        *sizes,
        sent=False,
    )
    log.info("%s", event)
    if way.on_request is not None:
        _call(way.on_request, event)


def _call(function: OnRequest, event: RequestEvent) -> None:
    """Tell the program; what it makes of it must not take away an answer that is there."""
    try:
        function(event)
    except Exception:
        log.exception("on_request failed; the request is not affected")

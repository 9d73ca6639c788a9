"""How often and how long to try again, and the flow that does: `attempts`."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from functools import partial
from itertools import count
from typing import Any, Protocol, TypeVar

from urllib3.util.retry import Retry as Urllib3Retry

from kinto_orm.errors import BackoffError, ConfigurationError, Timeout, TransportError
from kinto_orm.wire import tracing
from kinto_orm.wire.clock import end_within, is_seconds
from kinto_orm.wire.flows import Flow, Pause, Sending, Step
from kinto_orm.wire.forking import renew_in_children
from kinto_orm.wire.messages import Reply, Request
from kinto_orm.wire.pretence import Pretence
from kinto_orm.wire.pretending import may_be_sent, pretending
from kinto_orm.wire.tracing import is_traced
from kinto_orm.wire.watching import OnRequest, Watch, is_watched, log, tell_unsent

AnyRetry = Urllib3Retry

# What says "not now": of Kinto itself, or of a gateway before it.
BUSY = frozenset({409, 429, 502, 503, 504})
# The first GET that races the first write into a collection gives 500 on PostgreSQL.
_BUSY_FOR_READS = BUSY | {500}


class Retry(Urllib3Retry):
    """How often and how long to try again: urllib3's Retry, with a deadline.

    Requests that may be repeated without harm are tried again after connection errors and after
    409, 429, 502, 503 and 504. The waits grow and are jittered.

    Args:
        total: How many times to try again after the first attempt.
        deadline: Seconds for the whole call with all attempts and waits.
        backoff_factor: Seconds; the n-th wait is random, up to `backoff_factor * 2**n`.
        backoff_max: Seconds; the longest wait of its own.
        retry_after_max: Seconds; a longer Retry-After of the server counts as this.
        **settings: What else urllib3's Retry takes.

    Raises:
        ConfigurationError: An argument is no number, or is negative.
    """

    def __init__(
        self,
        total: int = 8,
        *,
        deadline: float = 60.0,
        backoff_factor: float = 0.05,
        backoff_max: float = 5.0,
        retry_after_max: float = 30.0,
        **settings: Any,
    ) -> None:
        _check_total(total)
        _check_seconds("deadline", deadline)
        _check_seconds("backoff_factor", backoff_factor, or_zero=True)
        _check_seconds("backoff_max", backoff_max, or_zero=True)
        _check_seconds("retry_after_max", retry_after_max, or_zero=True)
        settings.setdefault("status_forcelist", BUSY)
        super().__init__(total, backoff_factor=backoff_factor, backoff_max=backoff_max, **settings)
        self.deadline = deadline
        self.longest_retry_after = retry_after_max

    def is_met_by(self, request: Request, reply: Reply) -> bool:
        """Whether an answer asks for another attempt."""
        busy = _BUSY_FOR_READS if request.method in ("GET", "HEAD") else self.status_forcelist
        # A 409 is rolled back by the server, so that it may be repeated whatever it was.
        return reply.status in busy and (request.repeatable or reply.status == 409)

    def allows(self, attempt: int, pause: float, until: float) -> bool:
        """Whether another attempt may follow the `attempt`-th (1-based).

        Args:
            attempt: The one that failed.
            pause: Seconds to wait before the next one.
            until: When the call is over, by `time.monotonic()`.
        """
        total = self.total
        most = 8 if total is None or total is True else int(total)
        return attempt <= most and time.monotonic() + pause < until

    def wait(self, attempt: int, reply: Reply | None) -> float:
        """Seconds to wait after the `attempt`-th attempt (1-based) failed."""
        if reply is not None and reply.status != 409 and "Retry-After" in reply.headers:
            asked = min(self._retry_after(reply.headers["Retry-After"]), self.longest_retry_after)
            return max(asked, self._own_wait(attempt))
        # Kinto's 409 asks for 3 s, though the collision is over in milliseconds.
        return self._own_wait(attempt)

    def _own_wait(self, attempt: int) -> float:
        """Seconds, with jitter."""
        return random.uniform(0, min(self.backoff_max, self.backoff_factor * 2**attempt))  # noqa: S311

    def _retry_after(self, value: str) -> float:
        try:
            return self.parse_retry_after(value)
        except Exception:  # noqa: BLE001  (urllib3 raises InvalidHeader and ValueError)
            return self.backoff_max


class Backoff:
    """What a server asked for by its header `Backoff`: no request before a time."""

    def __init__(self) -> None:
        self._not_before = 0.0
        self._lock = threading.Lock()
        renew_in_children(self)

    def after_fork(self) -> None:
        """Make the lock anew, in a forked child."""
        self._lock = threading.Lock()

    @property
    def seconds(self) -> float:
        """Seconds to wait before the next request; 0 or less for none."""
        return self._not_before - time.monotonic()

    def heed(self, reply: Reply) -> None:
        """Take what an answer asks for."""
        asked = reply.headers.get("Backoff")
        if asked is not None and asked.isdecimal():
            with self._lock:
                self._not_before = max(self._not_before, time.monotonic() + int(asked))


T = TypeVar("T")


class Way(Protocol):
    """How a server is reached: a connection."""

    policy: Retry
    backoff: Backoff
    url: str
    on_request: OnRequest | None
    pretence: Pretence | None


def in_attempts(flow: Flow[T], first: Step, way: Way) -> Flow[T]:
    """Go on with a flow, and send its requests as often as it takes: this yields no Request.

    Args:
        flow: One that was begun.
        first: The step that it waits for.
        way: The server, how often to try again, and what it asked for.
    """
    step = first
    try:
        while True:
            try:
                if type(step) is Request:
                    until = end_within(way.policy.deadline)
                    sending = _traced if is_traced() else attempts
                    if way.pretence is not None:
                        sending = partial(_pretended, sending, way.pretence)
                    answer = yield from sending(step, way, until)
                else:
                    answer = yield step
            except BaseException as error:  # noqa: BLE001  (the flow knows what it means)
                step = flow.throw(error)
            else:
                step = flow.send(answer)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]


def _pretended(
    sending: Callable[[Request, Way, float], Flow[Reply]],
    pretence: Pretence,
    request: Request,
    way: Way,
    until: float,
) -> Flow[Reply]:
    """Send what reads only, as a dry run does; see `pretending`."""
    flow = pretending(request, pretence, partial(tell_unsent, way))
    try:
        asked = next(flow)
        while True:
            asked = flow.send((yield from sending(asked, way, until)))  # type: ignore[arg-type]
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]
    except Exception as error:
        if not may_be_sent(request):
            error.lost = False  # type: ignore[attr-defined]
        raise


def _traced(request: Request, way: Way, until: float) -> Flow[Reply]:
    with tracing.operation(request):
        return (yield from attempts(request, way, until))


def attempts(request: Request, way: Way, until: float) -> Flow[Reply]:
    """Send a request, again where that does no harm.

    Args:
        request: What is sent.
        way: The server, how often to try again, and what it asked for.
        until: When the call is over, by `time.monotonic()`.

    Returns:
        The last answer, of any status.

    Raises:
        TransportError: No usable answer came within the attempts and the time; `.lost` says
            whether one of the sendings may have done the work.
    """
    _check_time(request, way, until)
    lost = False
    failure: TransportError | None = None
    policy, backoff = way.policy, way.backoff
    for attempt in count(1):
        yield from _back_off(backoff, until, way.url, lost)
        try:
            if is_seen(way):
                reply: Reply = yield from _seen(request, way, until, attempt)
            else:
                reply = yield Sending(request, until)
        except TransportError as error:
            failure = error
            lost = error.lost = lost or error.lost
            pause = policy.wait(attempt, None)
            if not (request.repeatable and policy.allows(attempt, pause, until)):
                raise
        except Exception as error:
            # Whatever keeps it from being sent again: what counts is that the answer was lost.
            if lost and failure is not None:
                raise failure from error
            error.lost = lost  # type: ignore[attr-defined]
            raise
        else:
            backoff.heed(reply)
            reply.lost = lost
            if not policy.is_met_by(request, reply):
                return reply
            pause = policy.wait(attempt, reply)
            if not policy.allows(attempt, pause, until):
                return reply
            lost |= reply.is_lost
            failure = None
        _log_again(request, attempt, pause, failure or reply.status)
        yield Pause(pause)
    raise AssertionError


def _seen(request: Request, way: Way, until: float, attempt: int) -> Flow[Reply]:
    """Send a request once, seen by who wants to see it."""
    if is_traced():
        with tracing.sending(request, way.url, attempt) as (named, span):
            reply = yield from _watched(named, way, until, attempt)
            tracing.note(span, reply)
            return reply
    return (yield from _watched(request, way, until, attempt))


def _watched(request: Request, way: Way, until: float, attempt: int) -> Flow[Reply]:
    watch = Watch(way, request, attempt)
    try:
        reply: Reply = yield Sending(request, until)
    except BaseException as error:
        watch.tell(None, error)
        raise
    watch.tell(reply, None)
    return reply


def _log_again(request: Request, attempt: int, pause: float, why: object) -> None:
    reason = why if isinstance(why, int) else type(why).__name__
    log.info(
        "%s %s: attempt %d failed (%s), again in %.2f s",
        request.method,
        request.path,
        attempt,
        reason,
        pause,
    )


def _back_off(backoff: Backoff, until: float, server: str, lost: bool) -> Flow[None]:
    seconds = backoff.seconds
    if seconds <= 0:
        return
    if time.monotonic() + seconds >= until:
        error = BackoffError(
            f"the server {server} asked to wait {seconds:.0f} s more before the next request, "
            "longer than the deadline of the call; try again later, or give the session a Retry "
            "with a longer deadline." + ("" if lost else " Nothing was sent.")
        )
        error.lost = lost
        raise error
    log.info("the server %s asked to wait: %.1f s before the next request", server, seconds)
    yield Pause(seconds)


def is_seen(way: Way) -> bool:
    """Whether anybody looks at what is sent."""
    return is_traced() or is_watched(way)


def _check_time(request: Request, way: Way, until: float) -> None:
    """Make sure that there is time left.

    Raises:
        Timeout: There is none; nothing was sent.
    """
    if until > time.monotonic():
        return
    error = Timeout(
        f"the time of the call was over before {request!r} was sent to {way.url}; give the "
        "session a Retry with a longer deadline"
    )
    error.lost = False
    raise error


def as_retry(retry: Urllib3Retry | None) -> Retry:
    """The policy that a session is given as `retry`.

    Raises:
        ConfigurationError: It is no policy.
    """
    if retry is None:
        return Retry(0)
    if isinstance(retry, Retry):
        return retry
    if not isinstance(retry, Urllib3Retry):
        raise ConfigurationError(
            f"retry={retry!r} is no policy: write retry=Retry(total=3, deadline=10), or retry=None "
            "for never"
        )
    total = retry.total
    # urllib3 takes None for "whatever its other counters allow", which are not counted here.
    return Retry() if total is None or total is True else Retry(int(total))


def _check_total(total: object) -> None:
    if isinstance(total, bool) or not isinstance(total, int) or total < 0:
        raise ConfigurationError(
            f"Retry(total={total!r}): how many times to try again is a whole number, 0 or more"
        )


def _check_seconds(name: str, value: object, *, or_zero: bool = False) -> None:
    if not (is_seconds(value) or (or_zero and value == 0 and not isinstance(value, bool))):
        least = "0 or more" if or_zero else "more than 0"
        raise ConfigurationError(
            f"Retry({name}={value!r}): it is a number of seconds, {least}, as in {name}=10"
        )

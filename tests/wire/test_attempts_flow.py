"""Trying again, answered by hand: how often, after what, how long to wait, and what was lost."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import formatdate
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from feeding import busy, fails, feed, gateway, no_answer, no_connection, says
from kinto_orm.errors import (
    BackoffError,
    BadReply,
    ConfigurationError,
    Timeout,
    TransportError,
)
from kinto_orm.wire.attempts import Backoff, Retry, attempts
from kinto_orm.wire.flows import Flow, Pause, Sending, Step
from kinto_orm.wire.messages import Reply, Request
from kinto_orm.wire.pretence import Pretence
from kinto_orm.wire.watching import OnRequest

GET = Request("GET", "/x")
PUT = Request("PUT", "/x", body=b"{}")
ONCE = Request("PATCH", "/x", body=b"[]", repeatable=False)


@dataclass
class There:
    """How a server is reached."""

    policy: Retry
    backoff: Backoff
    url: str = "http://there/v1"
    on_request: OnRequest | None = None
    pretence: Pretence | None = None


def trying(
    request: Request, policy: Retry | None = None, *, within: float = 60, backoff: Any = None
) -> Flow[Reply]:
    """The flow of a call that begins now."""
    until = time.monotonic() + within
    policy = Retry(8) if policy is None else policy
    return attempts(request, There(policy, backoff or Backoff()), until)


def kinds(steps: list[Step]) -> list[type]:
    return [type(each) for each in steps]


def pauses(steps: list[Step]) -> list[float]:
    return [each.seconds for each in steps if isinstance(each, Pause)]


# Which answers are tried again


@pytest.mark.parametrize("status", [200, 201, 304, 400, 401, 403, 404, 412, 413, 501])
@pytest.mark.parametrize("request_", [GET, PUT, ONCE], ids=["GET", "PUT", "once"])
def test_what_is_answered_is_given(request_: Request, status: int) -> None:
    """A refusal is an answer, too; it is sent once."""
    reply, steps = feed(trying(request_), says(status, {}))
    assert (reply.status, reply.lost) == (status, False)
    assert kinds(steps) == [Sending]


@pytest.mark.parametrize("request_", [GET, PUT], ids=["GET", "PUT"])
@pytest.mark.parametrize("first", [busy(409), busy(429), gateway(502), busy(503), gateway(504)])
def test_what_says_not_now(request_: Request, first: Reply) -> None:
    """What may be repeated is sent again, after a pause."""
    reply, steps = feed(trying(request_), first, None, says(200, {}))
    assert reply.status == 200
    assert kinds(steps) == [Sending, Pause, Sending]
    assert all(each.request is request_ for each in steps if isinstance(each, Sending))


@pytest.mark.parametrize("first", [busy(429), gateway(502), busy(503), gateway(504)])
def test_what_must_not_be_repeated(first: Reply) -> None:
    """Its answer is given as it is: it may have been done."""
    reply, steps = feed(trying(ONCE), first)
    assert reply is first
    assert kinds(steps) == [Sending]


def test_a_409_is_repeated_whatever_it_was() -> None:
    """The server rolled it back."""
    reply, steps = feed(trying(ONCE), busy(409), None, says(200, {}))
    assert (reply.status, reply.lost) == (200, False)
    assert kinds(steps) == [Sending, Pause, Sending]


@pytest.mark.parametrize(("method", "again"), [("GET", True), ("HEAD", True), ("PUT", False)])
def test_a_500_is_tried_again_for_reads_only(method: str, again: bool) -> None:
    """The first read that races the first write of a collection gives one on PostgreSQL."""
    flow = trying(Request(method, "/x"))
    answers = [says(500, {"errno": 999}), None, says(200, {})] if again else [says(500, {})]
    reply, _ = feed(flow, *answers)
    assert (reply.status == 200) is again


def test_statuses_of_the_policys_own() -> None:
    """What urllib3's Retry is told counts for writes."""
    policy = Retry(3, status_forcelist={418})
    assert feed(trying(PUT, policy), says(418, {}), None, says(200, {}))[0].status == 200
    assert feed(trying(PUT, policy), busy(503))[0].status == 503


# When there is no answer


@pytest.mark.parametrize("error", [no_answer(), no_connection(), BadReply("cut off")])
def test_no_answer_is_tried_again(error: TransportError) -> None:
    """Whatever may be repeated is; what must not is raised as it is."""
    reply, steps = feed(trying(PUT), error, None, says(200, {}))
    assert reply.lost is error.lost
    assert kinds(steps) == [Sending, Pause, Sending]
    raised, steps = fails(trying(ONCE), TransportError, error)
    assert raised is error
    assert kinds(steps) == [Sending]


def test_an_error_knows_of_earlier_losses() -> None:
    """A connection that was never made does not take back that an earlier answer was lost."""
    error, steps = fails(
        trying(PUT, Retry(2)),
        TransportError,
        no_connection(),
        None,
        no_answer(),
        None,
        no_connection(),
    )
    assert error.lost
    assert kinds(steps) == [Sending, Pause, Sending, Pause, Sending]
    error, _ = fails(trying(PUT, Retry(1)), TransportError, no_connection(), None, no_connection())
    assert not error.lost


@pytest.mark.parametrize("later", [ConfigurationError("it is closed"), OSError("no token")])
def test_what_keeps_it_from_being_sent_again(later: Exception) -> None:
    """After a lost answer that is what counts: "closed" would say that nothing was done."""
    first = no_answer()
    error, steps = fails(trying(PUT), TransportError, first, None, later)
    assert error is first
    assert (error.lost, error.__cause__) == (True, later)
    assert kinds(steps) == [Sending, Pause, Sending]
    error, _ = fails(trying(PUT), type(later), gateway(502), None, later)
    assert error.lost


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(), ValueError("wrong here")])
def test_what_is_no_matter_of_the_wire(error: BaseException) -> None:
    """An interrupt, or a mistake of a program's own authentication: nothing is tried again."""
    raised, steps = fails(trying(GET), type(error), error)
    assert raised is error
    assert kinds(steps) == [Sending]


def test_an_interrupt_while_it_waits() -> None:
    """It goes on up; nothing more is sent."""
    _, steps = fails(trying(GET), KeyboardInterrupt, busy(), KeyboardInterrupt())
    assert kinds(steps) == [Sending, Pause]


# How often, how long


@pytest.mark.parametrize("total", [0, 1, 4])
def test_the_policy_says_how_often(total: int) -> None:
    """So many times after the first one; then the last answer counts."""
    answers: list[Any] = [busy(), None] * total
    last = busy(429)
    reply, steps = feed(trying(GET, Retry(total)), *answers, last)
    assert reply is last
    assert kinds(steps).count(Sending) == total + 1
    assert kinds(steps).count(Pause) == total


def test_the_waits_grow_up_to_a_limit() -> None:
    """Each is random below twice the one before."""
    policy = Retry(6, backoff_factor=0.5, backoff_max=3)
    _, steps = feed(trying(GET, policy), *[busy(), None] * 6, says(200, {}))
    assert all(
        0 <= each <= most for each, most in zip(pauses(steps), [1, 2, 3, 3, 3, 3], strict=True)
    )
    assert len(set(pauses(steps))) == 6


@pytest.mark.parametrize(
    ("header", "expected"),
    [("7", 7), ("0", 0), ("20", 20), ("21", 20), ("86400", 20), ("soon", 2), ("-5", 2)],
)
def test_retry_after(header: str, expected: float) -> None:
    """Heeded up to the policy's limit; what is no number counts as the longest wait."""
    policy = Retry(1, backoff_factor=0, backoff_max=2, retry_after_max=20)
    asks = says(503, {"errno": 201}, {"Retry-After": header})
    _, steps = feed(trying(GET, policy), asks, None, says(200, {}))
    assert pauses(steps) == [expected]


def test_retry_after_as_a_date() -> None:
    """Of the other form that HTTP has."""
    header = formatdate(time.time() + 10, usegmt=True)
    asks = says(429, {"errno": 117}, {"Retry-After": header})
    _, steps = feed(trying(GET, Retry(1, backoff_factor=0)), asks, None, says(200, {}))
    assert 5 < pauses(steps)[0] <= 10


def test_retry_after_of_a_409() -> None:
    """Kinto asks for seconds, and it is over in milliseconds."""
    asks = says(409, {"errno": 122}, {"Retry-After": "3"})
    _, steps = feed(trying(PUT, Retry(1)), asks, None, says(200, {}))
    assert pauses(steps)[0] <= 0.1


def test_the_deadline_bounds_the_waits() -> None:
    """What would be answered too late is not waited for: the answer that is there is given."""
    asks = says(503, {"errno": 201}, {"Retry-After": "20"})
    reply, steps = feed(trying(GET, within=10), asks)
    assert reply is asks
    assert kinds(steps) == [Sending]
    _, steps = feed(trying(GET, within=30), asks, None, says(200, {}))
    assert pauses(steps) == [20]


def test_a_lost_answer_near_the_deadline() -> None:
    """Where no time is left to try again, the error is raised."""
    policy = Retry(8, backoff_factor=1e9, backoff_max=1e9)
    error, steps = fails(trying(GET, policy, within=10), TransportError, no_answer())
    assert error.lost
    assert kinds(steps) == [Sending]


def test_nothing_is_sent_after_the_end() -> None:
    """The call's time was used up by what came before: that is certain not to be done."""
    error, steps = fails(trying(PUT, within=-1), Timeout)
    assert not error.lost
    assert not steps
    assert "before <PUT /x> was sent to http://there/v1" in str(error)


def test_the_time_of_a_sending() -> None:
    """Each is told when the whole call is over."""
    until = time.monotonic() + 50
    flow = attempts(GET, There(Retry(1), Backoff()), until)
    _, steps = feed(flow, busy(), None, says(200, {}))
    assert [each.until for each in steps if isinstance(each, Sending)] == [until, until]


# Backoff


def test_a_backoff_delays_the_next_request() -> None:
    """Of any call on the connection; the answer that asks for it is given at once."""
    backoff = Backoff()
    _, steps = feed(trying(GET, backoff=backoff), says(200, {}, {"Backoff": "10"}))
    assert kinds(steps) == [Sending]
    _, steps = feed(trying(PUT, backoff=backoff), None, says(200, {}))
    assert kinds(steps) == [Pause, Sending]
    assert 9 < pauses(steps)[0] <= 10


def test_the_longest_backoff_counts() -> None:
    """A shorter one that comes later takes nothing away."""
    backoff = Backoff()
    for seconds in ("30", "5"):
        backoff.heed(says(200, {}, {"Backoff": seconds}))
    _, steps = feed(trying(GET, backoff=backoff), None, says(200, {}))
    assert 29 < pauses(steps)[0] <= 30


@pytest.mark.parametrize("header", ["", "soon", "-5", "1.5", "0"])
def test_what_is_no_backoff(header: str) -> None:
    """It is ignored."""
    backoff = Backoff()
    backoff.heed(says(200, {}, {"Backoff": header}))
    assert kinds(feed(trying(GET, backoff=backoff), says(200, {}))[1]) == [Sending]


def test_a_backoff_beyond_the_deadline() -> None:
    """It fails at once, and says that nothing was sent."""
    backoff = Backoff()
    backoff.heed(says(200, {}, {"Backoff": "100"}))
    error, steps = fails(trying(GET, backoff=backoff), BackoffError)
    assert not steps
    assert not error.lost
    assert "Nothing was sent" in str(error)
    assert "100 s more" in str(error)


@pytest.mark.parametrize(("status", "lost"), [(503, False), (504, True)])
def test_a_backoff_between_two_sendings(status: int, lost: bool) -> None:
    """What was sent before stays known; that nothing was sent is said only where it is true."""
    content = {"errno": 201} if status == 503 else None
    first = says(status, content, {"Backoff": "100"})
    error, steps = fails(trying(GET), BackoffError, first, None)
    assert kinds(steps) == [Sending, Pause]
    assert error.lost is lost
    assert ("Nothing was sent" in str(error)) is not lost


# Whatever comes


class Event(NamedTuple):
    """One sending, as it goes.

    Attributes:
        make: Its answer, or its error.
        status: The answer's status; 0 for none.
        lost: Whether the server may have done it, though this does not say so.
    """

    make: Callable[[], Any]
    status: int
    lost: bool


EVENTS = [
    Event(no_answer, 0, True),
    Event(no_connection, 0, False),
    Event(lambda: BadReply("cut off"), 0, True),
    Event(lambda: busy(409), 409, False),
    Event(lambda: busy(429), 429, False),
    Event(lambda: busy(503), 503, False),
    Event(lambda: gateway(503), 503, True),
    Event(lambda: gateway(502), 502, True),
    Event(lambda: gateway(504), 504, True),
    Event(lambda: says(500, {"errno": 999}), 500, True),
    Event(lambda: says(200, {}), 200, False),
    Event(lambda: says(412, {"errno": 114}), 412, False),
]


def goes_on(event: Event, request: Request) -> bool:
    """Whether this may be followed by another sending."""
    if event.status == 409:
        return True
    if not request.repeatable:
        return False
    return event.status in (0, 429, 502, 503, 504) or (
        event.status == 500 and request.method == "GET"
    )


@given(
    events=st.lists(st.sampled_from(EVENTS), min_size=9, max_size=9),
    total=st.integers(0, 8),
    request=st.sampled_from([GET, PUT, ONCE]),
)
def test_any_sequence(events: list[Event], total: int, request: Request) -> None:
    """It is sent as often as the policy allows and no more, and no loss is forgotten or invented.

    An answer says whether one of the sendings before it was lost; an error whether any was.
    """
    policy = Retry(total, backoff_factor=0.001)
    flow, steps, met = trying(request, policy), [], list[Event]()
    outcome: Any = None
    try:
        step = next(flow)
        while True:
            steps.append(step)
            if isinstance(step, Pause):
                step = flow.send(None)
                continue
            met.append(events[len(met)])
            answer = met[-1].make()
            step = flow.throw(answer) if isinstance(answer, Exception) else flow.send(answer)
    except StopIteration as end:
        outcome = end.value
    except TransportError as error:
        outcome = error

    assert kinds(steps) == [Sending, *[Pause, Sending] * (len(met) - 1)]
    assert len(met) <= total + 1
    assert all(goes_on(each, request) for each in met[:-1])
    assert len(met) == total + 1 or not goes_on(met[-1], request)
    assert isinstance(outcome, Reply) is bool(met[-1].status)
    counted = met[:-1] if met[-1].status else met
    assert outcome.lost is any(each.lost for each in counted)

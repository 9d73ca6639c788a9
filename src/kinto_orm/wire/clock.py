"""The clock of a call: when it has to be over, and how long its parts may wait.

The outermost part of a call sets it, and each request within looks at it. A thread that is
started for a call has a clock of its own.
"""

from __future__ import annotations

import math
import random
import time
from contextvars import ContextVar, Token
from datetime import UTC, datetime
from typing import Self

from kinto_orm.errors import ConfigurationError

Timeouts = float | tuple[float | None, float | None] | None
"""Seconds to connect and to wait for the next bytes of an answer, or one number for both."""

# More than this (31 years) is a mistake, and a socket takes no more than ten times as much.
_MOST_SECONDS = 1e9
_LONGEST_PAUSE = 1.0

# From 2001 to 5138; as milliseconds they are before 1974, when nothing was stored yet.
_SECONDS_OF_OUR_TIME = range(10**9, 10**11)


class Until:
    """What runs in this block shares one clock, which never goes beyond one around it.

    Args:
        end: By `time.monotonic()`.

    Attributes:
        end: When it is over.
    """

    __slots__ = ("_outer", "_token", "end")

    def __init__(self, end: float) -> None:
        self.end = end
        self._outer = math.inf
        self._token: Token[Until] | None = None

    def __enter__(self) -> Self:
        self._outer = _clock.get().end
        self.renew(self.end)
        self._token = _clock.set(self)
        return self

    def __exit__(self, *exc: object) -> None:
        if self._token is not None:
            _clock.reset(self._token)

    def renew(self, end: float) -> None:
        """Let the rest of the block have another end."""
        self.end = min(end, self._outer)


_NEVER = Until(math.inf)
_clock: ContextVar[Until] = ContextVar("kinto_orm_clock", default=_NEVER)


def end_within(seconds: float) -> float:
    """When a call that begins now is over: after so many seconds, or with the call around it.

    Returns:
        The time by `time.monotonic()`.
    """
    return min(time.monotonic() + seconds, _clock.get().end)


def seconds_left() -> float:
    """Seconds until the call around this is over; infinite without one, negative afterwards."""
    return _clock.get().end - time.monotonic()


def begin_anew(seconds: float) -> None:
    """Let what follows in the call around this have so many seconds of its own."""
    _clock.get().renew(time.monotonic() + seconds)


def as_pair(timeout: Timeouts) -> tuple[float | None, float | None]:
    """The two timeouts that a session is given as `timeout`.

    Raises:
        ConfigurationError: It is something else than seconds.
    """
    pair = timeout if isinstance(timeout, tuple) else (timeout, timeout)
    if len(pair) != 2 or not all(each is None or is_seconds(each) for each in pair):
        raise ConfigurationError(
            f"timeout={timeout!r} is no number of seconds above 0: write timeout=10, or "
            "timeout=(3.05, 30.0) for (to connect, to wait for the next bytes)"
        )
    return pair


def is_seconds(value: object) -> bool:
    """Whether it is a number above 0 that a clock takes; NaN is none."""
    return (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and 0 < value <= _MOST_SECONDS
    )


def race_pause(attempt: int, began: float) -> float:
    """Seconds to wait before reading and writing again.

    Args:
        attempt: 0 after the first run.
        began: When the last one began, by `time.monotonic()`.
    """
    # Measured by its own length: on a slow server the others need longer, too.
    longest = min(_LONGEST_PAUSE, (time.monotonic() - began) * 2 ** min(attempt, 10))
    return random.uniform(0, longest)  # noqa: S311


def within(timeouts: tuple[float | None, float | None], until: float) -> tuple[float, float]:
    """The two timeouts, neither beyond the end of the call.

    Args:
        timeouts: Seconds, (to connect, to wait for the next bytes).
        until: When the call is over, by `time.monotonic()`.
    """
    left = max(until - time.monotonic(), 0.01)
    connect, read = timeouts
    return min(connect or left, left), min(read or left, left)


def milliseconds(when: int | datetime) -> int:
    """A time as the server's timestamps have it.

    Raises:
        TypeError: It is no time, or one in seconds.
    """
    if isinstance(when, datetime):
        return int(when.timestamp() * 1000)
    if type(when) is not int:
        raise TypeError(
            f"{when!r} is no time: give milliseconds as a whole number, such as a last_modified, "
            "or a datetime"
        )
    if when in _SECONDS_OF_OUR_TIME:
        raise TypeError(
            f"{when} milliseconds are in {datetime.fromtimestamp(when / 1000, UTC).year}; if these "
            f"are seconds, give {when} * 1000, or a datetime"
        )
    return when

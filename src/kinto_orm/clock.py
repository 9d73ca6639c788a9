"""The clock of a call: when it has to be over, whatever it does inside.

The outermost part of a call sets it, and each request within looks at it. A thread that is
started for a call has a clock of its own.
"""

from __future__ import annotations

import math
import time
from contextvars import ContextVar, Token
from typing import Self

_end: ContextVar[float] = ContextVar("kinto_orm_end", default=math.inf)


def end_within(seconds: float) -> float:
    """When a call that begins now is over: after so many seconds, or with the call around it.

    Returns:
        The time by `time.monotonic()`.
    """
    return min(time.monotonic() + seconds, _end.get())


def seconds_left() -> float:
    """Seconds until the call around this is over; infinite without one, negative afterwards."""
    return _end.get() - time.monotonic()


class Until:
    """What runs in this block shares one clock, which never goes beyond one around it.

    Args:
        end: By `time.monotonic()`.
    """

    __slots__ = ("_end", "_token")

    def __init__(self, end: float) -> None:
        self._end = end
        self._token: Token[float] | None = None

    def __enter__(self) -> Self:
        self._token = _end.set(min(self._end, _end.get()))
        return self

    def __exit__(self, *exc: object) -> None:
        if self._token is not None:
            _end.reset(self._token)

"""The clock of a call: when it has to be over, whatever it does inside.

The outermost part of a call sets it, and each request within looks at it. A thread that is
started for a call has a clock of its own.
"""

from __future__ import annotations

import math
import time
from contextvars import ContextVar, Token
from typing import Self


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

"""How long to wait for a connection and for the next bytes of an answer."""

from __future__ import annotations

from kinto_orm.errors import ConfigurationError

Timeouts = float | tuple[float | None, float | None] | None

# More than this (31 years) is a mistake, and a socket takes no more than ten times as much.
_LONGEST = 1e9


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
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= _LONGEST

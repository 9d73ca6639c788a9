"""How long to wait for an answer, and how often and how long to try again."""

from __future__ import annotations

import random
from typing import Any

from urllib3.util.retry import Retry as Urllib3Retry

from kinto_orm.errors import ConfigurationError
from kinto_orm.protocol import Reply

Timeouts = float | tuple[float | None, float | None] | None
AnyRetry = Urllib3Retry

# More than this (31 years) is a mistake, and a socket takes no more than ten times as much.
_LONGEST = 1e9

_BUSY = frozenset({409, 429, 502, 503, 504})
# The first GET that races the first write into a collection gives 500 on PostgreSQL.
BUSY_FOR_READS = _BUSY | {500}


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
        settings.setdefault("status_forcelist", _BUSY)
        super().__init__(total, backoff_factor=backoff_factor, backoff_max=backoff_max, **settings)
        self.deadline = deadline
        self.longest_retry_after = retry_after_max

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


def as_pair(timeout: Timeouts) -> tuple[float | None, float | None]:
    """The two timeouts that a session is given as `timeout`.

    Raises:
        ConfigurationError: It is something else than seconds.
    """
    pair = timeout if isinstance(timeout, tuple) else (timeout, timeout)
    if len(pair) != 2 or not all(each is None or _is_seconds(each) for each in pair):
        raise ConfigurationError(
            f"timeout={timeout!r} is no number of seconds above 0: write timeout=10, or "
            "timeout=(3.05, 30.0) for (to connect, to wait for the next bytes)"
        )
    return pair


def _check_total(total: object) -> None:
    if isinstance(total, bool) or not isinstance(total, int) or total < 0:
        raise ConfigurationError(
            f"Retry(total={total!r}): how many times to try again is a whole number, 0 or more"
        )


def _check_seconds(name: str, value: object, *, or_zero: bool = False) -> None:
    if not (_is_seconds(value) or (or_zero and value == 0 and not isinstance(value, bool))):
        least = "0 or more" if or_zero else "more than 0"
        raise ConfigurationError(
            f"Retry({name}={value!r}): it is a number of seconds, {least}, as in {name}=10"
        )


def _is_seconds(value: object) -> bool:
    """Whether it is a number above 0 that a clock takes; NaN is none."""
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= _LONGEST

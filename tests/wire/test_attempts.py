"""The policy of waiting and trying again: what may be given, and what is refused at once."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from urllib3.util.retry import Retry as Urllib3Retry

from kinto_orm import ConfigurationError, Retry, Session

NOWHERE = "http://127.0.0.1:1/v1"
NUMBERS = [0, -1, "ten", "10", True, False, float("nan"), float("inf"), 1e12, b"1", 1j]


@pytest.mark.parametrize("timeout", [*NUMBERS, (), (1,), (1, 2, 3), (1, "x"), (0, 1), [1, 2], {}])
@pytest.mark.parametrize("url", [NOWHERE, "memory://"])
def test_what_is_no_timeout(url: str, timeout: Any) -> None:
    """It is refused when the session is made, and the message says what to write."""
    with pytest.raises(ConfigurationError, match=r"write timeout=10, or timeout=\(3.05, 30.0\)"):
        Session(url, timeout=timeout)


@pytest.mark.parametrize("timeout", [1, 0.5, (1, 2), (None, 2), (1, None), None])
def test_timeouts(timeout: Any) -> None:
    """Seconds, two of them, or None for as long as the deadline allows."""
    Session(NOWHERE, timeout=timeout)


@pytest.mark.parametrize("retry", [3, True, False, "3", {}, Retry, 0.5])
def test_what_is_no_policy(retry: Any) -> None:
    """A number is not taken for one."""
    with pytest.raises(ConfigurationError, match=r"write retry=Retry\(total=3"):
        Session(NOWHERE, retry=retry)


@pytest.mark.parametrize("retry", [None, Retry(), Retry(0), Urllib3Retry(3), Urllib3Retry(None)])
def test_policies(retry: Any) -> None:
    """Ours, urllib3's, or None for never."""
    Session(NOWHERE, retry=retry)


@pytest.mark.parametrize("total", [-1, "3", None, True, 2.5, float("nan")])
def test_what_is_no_number_of_attempts(total: Any) -> None:
    """It is a whole number, 0 or more."""
    with pytest.raises(ConfigurationError, match="whole number"):
        Retry(total)


@pytest.mark.parametrize("value", [*NUMBERS, None])
def test_what_is_no_deadline(value: Any) -> None:
    """It is seconds, more than none."""
    with pytest.raises(ConfigurationError, match="deadline=10"):
        Retry(deadline=value)


@pytest.mark.parametrize("name", ["backoff_factor", "backoff_max", "retry_after_max"])
@pytest.mark.parametrize("value", [-1, "1", None, True, float("nan")])
def test_what_is_no_wait(name: str, value: Any) -> None:
    """It is seconds, and may be none."""
    with pytest.raises(ConfigurationError, match=name):
        Retry(**{name: value})
    Retry(**{name: 0})


@given(st.integers(1, 60), st.floats(0, 2), st.floats(0, 10))
def test_waits_are_bounded(attempt: int, factor: float, longest: float) -> None:
    """However often was tried."""
    wait = Retry(backoff_factor=factor, backoff_max=longest).wait(attempt, None)
    assert 0 <= wait <= longest

"""Times as they are written."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from kinto_orm.cli.failing import Misuse
from kinto_orm.cli.printing import moment
from kinto_orm.cli.times import time_of


def test_milliseconds_and_dates() -> None:
    assert time_of("1795984521237") == 1795984521237
    assert time_of('"1795984521237"') == 1795984521237
    assert time_of("2026-11-29T20:35:21.237Z") == datetime(2026, 11, 29, 20, 35, 21, 237000, UTC)
    here = time_of("2026-11-29")
    assert isinstance(here, datetime)
    assert here == datetime(2026, 11, 29).astimezone()


def test_what_is_printed_can_be_given() -> None:
    when = time_of(str(moment(1795984521237)))
    assert isinstance(when, datetime)
    assert round(when.timestamp() * 1000) == 1795984521237


@pytest.mark.parametrize(
    ("text", "ago"),
    [
        ("10 minutes ago", timedelta(minutes=10)),
        ("an hour ago", timedelta(hours=1)),
        ("1 Week ago", timedelta(weeks=1)),
        ("yesterday", timedelta(days=1)),
        ("now", timedelta()),
    ],
)
def test_spans(text: str, ago: timedelta) -> None:
    before = datetime.now(UTC) - ago
    when = time_of(text)
    assert isinstance(when, datetime)
    assert before <= when <= datetime.now(UTC) - ago


@pytest.mark.parametrize("text", ["", "soon", "minutes ago", "99999999999 weeks ago", "-5", "1.5"])
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(Misuse, match="minutes ago"):
        time_of(text)

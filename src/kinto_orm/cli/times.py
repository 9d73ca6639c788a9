"""Times as people write them: `2026-11-29T20:00`, `1795984521237`, `"10 minutes ago"`."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Annotated

from typer import Argument

from kinto_orm.cli.failing import Misuse

TIME_HELP = "2026-11-29T20:00 (your own clock, with Z in UTC), milliseconds, or '10 minutes ago'"
Time = Annotated[str, Argument(metavar="TIME", help=TIME_HELP)]

_AGO = re.compile(r"(\d+|an?)\s*(second|minute|hour|day|week)s?\s+ago", re.IGNORECASE)
_DAYS = {"now": 0, "yesterday": 1}


def time_of(text: str) -> int | datetime:
    """What a time means that somebody wrote.

    Args:
        text: A date or a time in ISO 8601, on the clock of this computer unless it says another
            zone; milliseconds, as in `last_modified`; "10 minutes ago", "now" or "yesterday",
            which is a day ago.

    Raises:
        Misuse: It is none of these, or no time that there can be.
    """
    text = text.strip().strip('"')
    if re.fullmatch(r"\d+", text, re.ASCII):
        return int(text)
    try:
        return _ago(text) or datetime.fromisoformat(text).astimezone()
    except (ValueError, OverflowError, OSError):
        raise Misuse(f"{text!r} is no time: write {TIME_HELP}") from None


def _ago(text: str) -> datetime | None:
    now = datetime.now().astimezone()
    if text.lower() in _DAYS:
        return now - timedelta(days=_DAYS[text.lower()])
    found = _AGO.fullmatch(text)
    if found is None:
        return None
    count = 1 if found[1].lower().startswith("a") else int(found[1])
    return now - timedelta(**{f"{found[2].lower()}s": count})

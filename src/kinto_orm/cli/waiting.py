"""What somebody at a terminal is told while a server does not answer."""

from __future__ import annotations

import threading

from kinto_orm import ConnectFailed, RequestEvent, Timeout
from kinto_orm.cli.printing import tell

# The first attempts follow each other within a second: a server that is started anew is back then.
_SAID_AFTER = 4
_LONG = 2.0


class Waiting:
    """Says once that an answer is waited for: takes the place of a session's `on_request`."""

    def __init__(self) -> None:
        self._said = False
        self._lock = threading.Lock()

    def __call__(self, event: RequestEvent) -> None:
        """Look at what became of a request."""
        why = _why(event)
        if why and (event.attempt >= _SAID_AFTER or event.seconds >= _LONG) and self._is_first():
            tell(f"{why}; it is tried again for up to a minute, Ctrl-C ends it")

    def _is_first(self) -> bool:
        with self._lock:
            said, self._said = self._said, True
        return not said


def _why(event: RequestEvent) -> str:
    """Why a request is sent again; empty where it has an answer."""
    if isinstance(event.error, ConnectFailed):
        return "the server cannot be reached"
    if isinstance(event.error, Timeout):
        return "the server does not answer"
    return "the server is busy" if event.status in (429, 502, 503, 504) else ""

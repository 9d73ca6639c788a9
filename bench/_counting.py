"""Credentials that count the requests they are put on, and how a line of a table is shown."""

from __future__ import annotations

import time
from collections import Counter
from typing import Any

from requests import PreparedRequest
from requests.auth import AuthBase, HTTPBasicAuth


class Counting(AuthBase):
    """Credentials that count what is sent, by method; each sending of a request is one."""

    def __init__(self, user: str = "bench", password: str = "bench") -> None:
        self.sent: Counter[str] = Counter()
        self._basic = HTTPBasicAuth(user, password)

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        self.sent[str(request.method)] += 1
        self._basic(request)
        return request


def shown(what: str, counting: Counting, act: Any) -> Any:
    """Do something, and print how long it took and what it sent; what it gave."""
    counting.sent.clear()
    start, busy = time.perf_counter(), time.process_time()
    done = act()
    seconds, busy = time.perf_counter() - start, time.process_time() - busy
    sent = ", ".join(f"{count:,} {method}" for method, count in sorted(counting.sent.items()))
    said = "" if isinstance(done, list) else str(done).splitlines()[0]
    print(f"{what:24} {seconds:8.3f} s {busy:8.3f} s CPU   {sent:24} {said}", flush=True)
    return done

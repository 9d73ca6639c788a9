"""Python's garbage collector, paused while a large page is parsed."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from kinto_orm.wire.forking import renew_in_children


class _Collector:
    """The collector of this process, which several threads may pause at the same time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pauses = 0
        self._was_enabled = False

        renew_in_children(self)

    def after_fork(self) -> None:
        """Go on collecting, in a forked child: the threads that paused it are not here."""
        self._lock = threading.Lock()
        if self._pauses and self._was_enabled:
            gc.enable()
        self._pauses = 0

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Pause it in this block; when the last such block ends it is as it was.

        The parser makes all objects of a page in one call, and drops none: collections in
        between walk all of them, again and again, and find nothing. They cost as much as the
        parser itself; `bench/load_page.py` measures both.
        """
        with self._lock:
            if self._pauses == 0:
                self._was_enabled = gc.isenabled()
                gc.disable()
            self._pauses += 1
        try:
            yield
        finally:
            with self._lock:
                self._pauses -= 1
                if self._pauses == 0 and self._was_enabled:
                    gc.enable()


collector = _Collector()

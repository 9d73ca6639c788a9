"""How many isolated renders may go on at a time."""

from __future__ import annotations

import os
import threading
from collections import deque

MOST = 2 * (len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1)
"""Two for each processor that this process may use: one computes while another one waits."""


class Places:
    """A number of places; who has waited longest gets the next one.

    Args:
        count: How many there are.
    """

    def __init__(self, count: int) -> None:
        self._lock = threading.Lock()
        self._free = count
        self._queue: deque[threading.Event] = deque()

    def take(self, patience: float) -> bool:
        """Take a place, and tell whether there was one in time.

        Args:
            patience: Seconds to wait for it.
        """
        with self._lock:
            if self._free:
                self._free -= 1
                return True
            turn = threading.Event()
            self._queue.append(turn)
        try:
            turn.wait(patience)
        except BaseException:  # interrupted
            if not self._left(turn):
                self.give_back()
            raise
        return turn.is_set() or not self._left(turn)

    def give_back(self) -> None:
        """Give a place back, or rather to who comes next."""
        with self._lock:
            if self._queue:
                self._queue.popleft().set()
            else:
                self._free += 1

    def _left(self, turn: threading.Event) -> bool:
        """Leave the queue; tell whether the turn had not come."""
        with self._lock:
            if turn.is_set():
                return False
            self._queue.remove(turn)
            return True

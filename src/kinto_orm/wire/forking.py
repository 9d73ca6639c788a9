"""What a forked child must not share with its parent: sockets, and locks that a thread held."""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Callable
from typing import Any, Protocol, TypeVar
from weakref import WeakSet

T = TypeVar("T")


class Shared(Protocol):
    """Something that is of use to one process only."""

    def after_fork(self) -> None:
        """Make it anew, in the child; no lock may be waited for, its holder is not here."""


_shared: WeakSet[Shared] = WeakSet()


def renew_in_children(thing: Shared) -> None:
    """Have `thing.after_fork()` called in each forked child, as long as it lives."""
    _shared.add(thing)


def call_in_children(function: Callable[[], None]) -> None:
    """Have a function called in each forked child."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=function)


def _renew() -> None:
    for thing in list(_shared):
        thing.after_fork()


call_in_children(_renew)


class Lock(Protocol):
    """One of the locks of `threading`."""

    def acquire(self) -> object:
        """Wait until nobody has it."""

    def release(self) -> object:
        """Let others have it."""


def fork_between(lock: Lock) -> None:
    """Fork only when no other thread holds this lock, so that no child waits for it."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(
            before=lock.acquire, after_in_parent=lock.release, after_in_child=lock.release
        )


class cached_property(functools.cached_property[T]):  # noqa: N801, TID251
    """A property that is computed once, also in a child forked while a thread computed it.

    Python 3.11 has one lock for all objects with the property.
    """

    def __init__(self, function: Callable[[Any], T]) -> None:
        super().__init__(function)
        renew_in_children(self)

    def after_fork(self) -> None:
        """Make the lock anew, in a forked child."""
        self.lock = threading.RLock()
